{# The mean over the last n sessions, from the column's running sum: two looks instead of n additions a row. The sum is
   numeric, so the difference is exact, from whichever session the sum began. Null before there are n sessions; rows have
   a column `sessions` that counts them from 1. #}
{% macro rolling_mean(running_sum, n, window) -%}
    case when sessions >= {{ n }} then (({{ running_sum }} - lag({{ running_sum }}, {{ n }}, 0.0) over {{ window }}) / {{ n }})::float8 end
{%- endmacro %}
