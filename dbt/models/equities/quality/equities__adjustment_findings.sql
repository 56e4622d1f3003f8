{{ config(materialized="view") }}

-- Actions of days without any prices are no findings: lists reach back further than the prices do
select
    ex_day as day,
    symbol,
    instrument,
    effective_day,
    factor,
    jump,
    flag || coalesce(' (factor ' || round(factor::numeric, 4) || ', jump ' || round(jump::numeric, 4) || ')', '') || ': not applied'
        as finding
from {{ ref("equities__adjustments") }}
where
    flag <> 'not traded yet'
    and ex_day >= (select min(day) from {{ ref("equities__instrument_days") }})
