{# Deletes what an incremental model published for the window's days, in the transaction that puts the window's new rows
   in their place: so that a row which a correction took away does not stay. #}
{% macro delete_window(day) %}
    {% if is_incremental() %}
        delete from {{ this }}
        where {{ day }} between date '{{ var("start_day") }}' and date '{{ var("end_day") }}'
    {% endif %}
{% endmacro %}
