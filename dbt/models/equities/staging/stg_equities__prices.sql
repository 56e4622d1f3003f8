{# One row a symbol, series and day. The same trades may have come in several layouts: UDiFF before the old bhavcopy
   before the delivery file, which is also the descending order of their names. #}
with layouts as (
    select
        symbol,
        series,
        day,
        layout,
        {{ first_known("isin", "by_layout") }} as isin,
        {{ first_known("name", "by_layout") }} as name,
        open_inr,
        high_inr,
        low_inr,
        close_inr,
        volume_shares,
        turnover_inr,
        {{ first_known("trades", "by_layout") }} as trades,
        {{ first_known("average_inr", "by_layout") }} as average_inr,
        {{ first_known("delivery_shares", "by_layout") }} as delivery_shares,
        row_number() over by_layout as preference
    from {{ source("raw_equities", "prices") }}
    window by_layout as (partition by day, symbol, series order by layout desc)
)

select
    symbol,
    series,
    day,
    layout,
    isin,
    name,
    open_inr,
    high_inr,
    low_inr,
    close_inr,
    volume_shares,
    turnover_inr,
    trades,
    average_inr,
    delivery_shares
from layouts
where preference = 1
