{# The first value that is not null of a row and the two after it, in the named window's order. #}
{% macro first_known(column, window) -%}
    coalesce({{ column }}, lead({{ column }}, 1) over {{ window }}, lead({{ column }}, 2) over {{ window }})
{%- endmacro %}
