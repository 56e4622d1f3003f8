{{ config(materialized="table", schema="audit", post_hook="analyze {{ this }}") }}
{# What was traded of shares in the window's days, one row a symbol and day: of several equity series the first in this
   order. Debt and rights are left out, and so is a row with a price of nil, which no trade was at. A table, because the
   planner cannot tell how many rows such a choice leaves. #}
{% set equity_series = ["EQ", "BE", "BZ", "SM", "ST", "SZ"] %}

select distinct on (day, symbol) *
from {{ ref("stg_equities__prices") }}
where
    day >= date '{{ var("start_day") }}'
    and series in ('{{ equity_series | join("', '") }}')
    and least(open_inr, high_inr, low_inr, close_inr) > 0
order by day, symbol, array_position(array['{{ equity_series | join("', '") }}'], series)
