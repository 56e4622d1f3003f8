{{ config(materialized="view") }}
{# A view, so that a new split rewrites nothing and the whole history is right at once. #}

with days as (
    select
        instrument_days.*,
        -- A share of that day is so many of today's
        coalesce(share_factors.present_share_factor / share_factors.share_factor, 1) as shares_now
    from {{ ref("equities__instrument_days") }} as instrument_days
    left join {{ ref("equities__share_factors") }} as share_factors
        on
            instrument_days.instrument = share_factors.instrument
            and instrument_days.day >= share_factors.from_day
            and instrument_days.day < share_factors.until_day
)

select
    instrument,
    symbol,
    day,
    open_inr / shares_now as open_inr,
    high_inr / shares_now as high_inr,
    low_inr / shares_now as low_inr,
    close_inr / shares_now as close_inr,
    volume_shares * shares_now as volume_shares
from days
