{{ config(materialized="view") }}

with versions as (
    select
        *,
        count(reason) over (partition by instrument order by day) as version
    from {{ ref("equities__changes") }}
),

-- What became known in the course of a version holds for all of it
spans as (
    select
        instrument,
        version,
        min(day) as valid_from,
        max(symbol) as symbol,
        max(isin) as isin,
        max(series) as series,
        max(name) as name,
        max(reason) as reason
    from versions
    group by instrument, version
)

select
    instrument,
    symbol,
    isin,
    series,
    name,
    valid_from,
    lead(valid_from) over by_version - 1 as valid_to,
    lead(valid_from) over by_version is null as is_current,
    reason
from spans
window by_version as (partition by instrument order by version)
