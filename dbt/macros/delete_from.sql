{# Deletes what an incremental model that carries state from day to day published from the window's first day on, in the
   transaction that puts the new rows in their place: a changed day may change all that follow, so `end_day` bounds
   nothing. The rows before are as a build of everything would make them. #}
{% macro delete_from(day) %}
    {% if is_incremental() %}
        delete from {{ this }} where {{ day }} >= date '{{ var("start_day") }}'
    {% endif %}
{% endmacro %}
