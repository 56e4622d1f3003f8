{{
    config(
        materialized="incremental",
        incremental_strategy="append",
        pre_hook="{{ delete_from('day') }}",
        post_hook="analyze {{ this }}",
        on_schema_change="fail",
        indexes=[
            {"columns": ["instrument", "sessions"], "unique": true},
            {"columns": ["symbol", "day"], "unique": true},
            {"columns": ["day", "instrument"], "unique": true}
        ]
    )
}}

with spells as (
    select
        symbol,
        instrument,
        first_day,
        lead(first_day) over (partition by symbol order by first_day) as next_first_day
    from {{ ref("equities__spells") }}
),

-- Two symbols of one ISIN on one day are a fault of the file: the one that traded more counts
identified as (
    select distinct on (spells.instrument, shares.day)
        shares.*,
        spells.instrument
    from {{ ref("equities__window_shares") }} as shares
    inner join spells
        on
            shares.symbol = spells.symbol
            and shares.day >= spells.first_day
            and (shares.day < spells.next_first_day or spells.next_first_day is null)
    order by spells.instrument, shares.day, shares.turnover_inr desc, shares.symbol
),

numbered as (
    select
        *,
        (row_number() over (partition by instrument order by day))::int as session_of_window
    from identified
),

before as (
    {% if is_incremental() %}
        select
            present.instrument,
            last.sessions
        from (select distinct instrument from numbered) as present
        cross join lateral (
            select sessions from {{ this }} as days
            where days.instrument = present.instrument
            order by days.sessions desc
            limit 1
        ) as last
    {% else %}
        select
            null::text as instrument,
            null::int as sessions
        where false
    {% endif %}
)

select
    numbered.symbol,
    numbered.day,
    numbered.instrument,
    numbered.isin,
    numbered.name,
    numbered.series,
    coalesce(before.sessions, 0) + numbered.session_of_window as sessions,
    numbered.open_inr,
    numbered.high_inr,
    numbered.low_inr,
    numbered.close_inr,
    -- The delivery file rounds the turnover to 1,000 INR and gives the average itself
    case
        when numbered.layout = 'delivery' then numbered.average_inr
        else numbered.turnover_inr / nullif(numbered.volume_shares, 0)
    end as vwap_inr,
    numbered.volume_shares,
    numbered.turnover_inr,
    numbered.trades,
    numbered.delivery_shares
from numbered
left join before on numbered.instrument = before.instrument
