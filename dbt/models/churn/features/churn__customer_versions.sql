{{ config(materialized="ephemeral") }}
{# Each version of a customer with the days for which it was the newest known. What was the case before the first one
   is nowhere: the CRM keeps no history, and a null would tell that the customer was still there to be changed later. So
   the first version stands for the time before as well (`is_first_version`). #}

with removals as (
    select
        row_key as customer_id,
        day
    from {{ ref("stg_churn__removals") }}
    where table_name = 'crm.customers'
),

versions as (
    select
        *,
        lag(day) over customer_versions as previous_day,
        lead(day) over customer_versions as next_day,
        -- The newest of all: what a label needs, and no feature may see
        last_value(day) over customer_versions_all as newest_day,
        last_value(left_on) over customer_versions_all as newest_left_on
    from {{ ref("stg_churn__customers") }}
    window
        customer_versions as (partition by customer_id order by day),
        customer_versions_all as (
            partition by customer_id order by day rows between unbounded preceding and unbounded following
        )
),

removal_days as (
    select
        versions.customer_id,
        versions.day,
        -- Whether the customer came back later is not known of a version
        min(removals.day) as removed_on,
        -- A customer that came back has a version from after the removal
        max(removals.day) filter (where removals.day >= versions.newest_day) as newest_removed_on
    from versions
    inner join removals
        on
            versions.customer_id = removals.customer_id
            and versions.day <= removals.day
    group by versions.customer_id, versions.day
)

select
    versions.*,
    case when previous_day is null then '-infinity'::date else versions.day end as valid_from,
    coalesce(next_day, 'infinity'::date) as valid_to,
    removal_days.removed_on,
    removal_days.newest_removed_on
from versions
left join removal_days
    on
        versions.customer_id = removal_days.customer_id
        and versions.day = removal_days.day
