{# Aggregates that Postgres lacks, for use over ordered windows. A model that uses one makes it in a hook: what is in
   pg_temp is the session's own and ends with it. #}

{# pg_temp.ema(x, alpha): y = (1 - alpha) y + alpha x from the first x on, as pandas' ewm(adjust=False); a null leaves y
   as it is. A window of rows whose first x is the y of the row before continues what was stored, bit by bit. #}
{% macro create_ema() %}
    create or replace function pg_temp.ema_step(y float8, x float8, alpha float8) returns float8
    language plpgsql immutable parallel safe as $$
    begin
        return case when x is null then y when y is null then x else (1 - alpha) * y + alpha * x end;
    end
    $$;
    create or replace aggregate pg_temp.ema(float8, float8) (sfunc = pg_temp.ema_step, stype = float8);
{% endmacro %}

{# The exponential average of n sessions, alpha = 2 / (n + 1). #}
{% macro ema(value, n, window) -%}
    pg_temp.ema({{ value }}, 2 / {{ n + 1 }}::float8) over {{ window }}
{%- endmacro %}

{# Wilder's average of n sessions, alpha = 1 / n; `n` may be an expression. #}
{% macro wilder(value, n, window) -%}
    pg_temp.ema({{ value }}, 1 / ({{ n }})::float8) over {{ window }}
{%- endmacro %}

{% macro create_product() %}
    create or replace aggregate pg_temp.product(float8) (sfunc = float8mul, stype = float8, initcond = '1');
{% endmacro %}
