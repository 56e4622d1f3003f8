{{
    config(
        materialized="incremental",
        incremental_strategy="append",
        pre_hook="{{ delete_from('day') }}",
        on_schema_change="fail",
        indexes=[{"columns": ["day"]}]
    )
}}
{# The delivery file rounds its turnover to 1,000 INR #}
{% set rounding_inr = 1000 %}

with nil as (
    select
        day,
        symbol,
        series,
        'a price of nil: the row is left out' as finding
    from {{ source("raw_equities", "prices") }}
    where
        day >= date '{{ var("start_day") }}'
        and series in ('EQ', 'BE', 'BZ', 'SM', 'ST', 'SZ')
        and least(open_inr, high_inr, low_inr, close_inr) = 0
),

contradicting as (
    select
        shares.day,
        shares.symbol,
        shares.series,
        findings.finding
    from {{ ref("equities__window_shares") }} as shares
    cross join lateral (
        values
        (
            greatest(open_inr, low_inr, close_inr) > high_inr or least(open_inr, close_inr) < low_inr,
            'open or close outside of the range from low to high'
        ),
        (
            turnover_inr > 1.01 * volume_shares * high_inr + {{ rounding_inr }}
            or turnover_inr < 0.99 * volume_shares * low_inr - {{ rounding_inr }},
            'turnover is not volume times a price of the day'
        ),
        (
            delivery_shares > volume_shares,
            'more shares delivered than traded'
        )
    ) as findings (is_found, finding)
    where findings.is_found
),

doubled as (
    select
        shares.day,
        shares.symbol,
        shares.series,
        'a second symbol of one instrument: the row is left out' as finding
    from {{ ref("equities__window_shares") }} as shares
    where not exists (
        select from {{ ref("equities__instrument_days") }} as days
        where
            days.symbol = shares.symbol
            and days.day = shares.day
    )
)

select * from nil
union all
select * from contradicting
union all
select * from doubled
