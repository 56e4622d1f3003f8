{{ config(materialized="ephemeral") }}
{# For each instrument with adjustments the spans of days between them, all time covered: how many shares one of the
   instrument's first session has become in the span, and by now. #}

with steps as (
    select
        instrument,
        effective_day as from_day,
        share_factor
    from {{ ref("equities__adjustments") }}
    where is_applied
    union all
    select distinct
        instrument,
        '-infinity'::date,
        1
    from {{ ref("equities__adjustments") }}
    where is_applied
)

select
    instrument,
    from_day,
    lead(from_day, 1, 'infinity'::date) over by_day as until_day,
    share_factor,
    last_value(share_factor) over (by_day rows between unbounded preceding and unbounded following)
        as present_share_factor
from steps
window by_day as (partition by instrument order by from_day)
