{{
    config(
        materialized="incremental",
        incremental_strategy="append",
        pre_hook=["{% if is_incremental() %} delete from {{ this }} {% endif %}", "{{ create_product() }}"],
        post_hook="analyze {{ this }}",
        on_schema_change="fail",
        indexes=[{"columns": ["symbol", "ex_day"], "unique": true}, {"columns": ["instrument", "effective_day"]}]
    )
}}
{# Splits, consolidations and bonus issues, each held against the price. Few thousands: worked out whole each time. #}

{# Factors within 1 % of each other are one: lists round 5/3 to 1.67 #}
{% set same = 1.01 %}
{# NSE's widest daily price band is 20 %, so the market alone takes an open to 1/1.25 of the close before at most #}
{% set market = 1.25 %}
{% set within_days = 10 %}

-- The same action is listed for several series and by several sources, each in its own words
with listed as (
    select
        symbol,
        day as ex_day,
        max(split_factor) filter (where kind <> 'multiplier') as split_factor,
        min(split_factor) filter (where kind <> 'multiplier') as least_split_factor,
        max(bonus_factor) as bonus_factor,
        min(bonus_factor) as least_bonus_factor,
        -- A list of multipliers gives the whole factor, and does not say what it is made of
        max(split_factor) filter (where kind = 'multiplier') as multiplier,
        min(split_factor) filter (where kind = 'multiplier') as least_multiplier,
        bool_or(kind like '%split%' or kind = 'consolidation') as is_split,
        bool_or(kind like '%bonus%') as is_bonus
    from {{ ref("stg_equities__actions") }}
    where
        kind like '%split%' or kind like '%bonus%' or kind = 'consolidation'
        or split_factor is not null or bonus_factor is not null
    group by symbol, day
),

stated as (
    select
        *,
        case
            when is_split and split_factor is null or is_bonus and bonus_factor is null then null
            when split_factor is not null or bonus_factor is not null
                then coalesce(split_factor, 1) * coalesce(bonus_factor, 1)
        end as in_words
    from listed
),

factors as (
    select
        symbol,
        ex_day,
        coalesce(in_words, multiplier) as factor,
        split_factor > {{ same }} * least_split_factor
        or bonus_factor > {{ same }} * least_bonus_factor
        or multiplier > {{ same }} * least_multiplier
        or greatest(in_words, multiplier) > {{ same }} * least(in_words, multiplier) as is_disputed
    from stated
),

priced as (
    select
        factors.*,
        traded.instrument,
        traded.day as effective_day,
        previous.close_inr / traded.open_inr as jump
    from factors
    left join lateral (
        select
            instrument,
            day,
            sessions,
            open_inr
        from {{ ref("equities__instrument_days") }} as days
        where
            days.symbol = factors.symbol
            and days.day between factors.ex_day and factors.ex_day + {{ within_days }}
        order by days.day
        limit 1
    ) as traded on true
    left join {{ ref("equities__instrument_days") }} as previous
        on
            traded.instrument = previous.instrument
            and traded.sessions - 1 = previous.sessions
),

known as (
    select max(day) as last_day from {{ ref("equities__instrument_days") }}
),

judged as (
    select
        symbol,
        instrument,
        ex_day,
        effective_day,
        factor,
        jump,
        case
            when is_disputed then 'sources disagree'
            when factor is null then 'factor unreadable'
            when effective_day is null and ex_day + {{ within_days }} > known.last_day then 'not traded yet'
            when effective_day is null then 'symbol not traded within {{ within_days }} days'
            when jump is null then 'no session before'
            when abs(ln(jump / factor)) > ln({{ market }}) then 'factor disagrees with the price'
        end as fault
    from priced
    cross join known
),

flagged as (
    select
        *,
        case
            when fault is null and row_number() over (
                partition by instrument, effective_day, fault
                order by ex_day desc
            ) > 1
                then 'listed under two days'
            else fault
        end as flag
    from judged
)

select
    instrument,
    symbol,
    ex_day,
    effective_day,
    factor,
    jump,
    flag is null as is_applied,
    case
        when flag is null
            then pg_temp.product(factor) filter (where flag is null) over (partition by instrument order by effective_day)
    end as share_factor,
    flag
from flagged
