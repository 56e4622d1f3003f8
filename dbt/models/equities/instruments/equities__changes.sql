{{
    config(
        materialized="incremental",
        incremental_strategy="append",
        pre_hook="{{ delete_from('day') }}",
        post_hook="analyze {{ this }}",
        on_schema_change="fail",
        indexes=[{"columns": ["instrument", "day"], "unique": true}]
    )
}}
{# The days on which something about an instrument is new, and what holds from then on. A day on which an ISIN or a name
   becomes known that was unknown until then has no reason: it begins no version of its own. #}

with days as (
    select
        instrument,
        day,
        symbol,
        series,
        isin,
        name,
        false as is_carried
    from {{ ref("equities__instrument_days") }}
    where day >= date '{{ var("start_day") }}'

    {% if is_incremental() %}
        union all
        select
            last.instrument,
            last.day,
            last.symbol,
            last.series,
            last.isin,
            last.name,
            true
        from (
            select distinct instrument from {{ ref("equities__instrument_days") }}
            where day >= date '{{ var("start_day") }}'
        ) as present
        cross join lateral (
            select * from {{ this }} as changes
            where changes.instrument = present.instrument
            order by changes.day desc
            limit 1
        ) as last
    {% endif %}
),

-- Numbers the runs of rows from one known ISIN (or name) to the next
runs as (
    select
        *,
        count(isin) over by_day as isin_run,
        count(name) over by_day as name_run
    from days
    window by_day as (partition by instrument order by day)
),

filled as (
    select
        instrument,
        day,
        symbol,
        series,
        max(isin) over (partition by instrument, isin_run) as isin,
        max(name) over (partition by instrument, name_run) as name,
        is_carried
    from runs
),

compared as (
    select
        *,
        lag(day) over by_day as day_before,
        lag(symbol) over by_day as symbol_before,
        lag(series) over by_day as series_before,
        lag(isin) over by_day as isin_before,
        lag(name) over by_day as name_before
    from filled
    window by_day as (partition by instrument order by day)
)

select
    instrument,
    day,
    symbol,
    series,
    isin,
    name,
    case
        when day_before is null then 'listed'
        else nullif(concat_ws(
            ', ',
            case when symbol <> symbol_before then 'renamed' end,
            case when isin <> isin_before then 'isin changed' end,
            case when series <> series_before then 'series changed' end,
            case when name <> name_before then 'name changed' end
        ), '')
    end as reason
from compared
where
    not is_carried
    and (symbol, series, isin, name) is distinct from (symbol_before, series_before, isin_before, name_before)
