{{ config(materialized="ephemeral") }}
{# Each version of a contract with the days for which it was the newest known; the first one also before them. #}

select
    contracts.*,
    case
        when lag(contracts.day) over contract_versions is null then '-infinity'::date
        else contracts.day
    end as valid_from,
    coalesce(lead(contracts.day) over contract_versions, 'infinity'::date) as valid_to,
    removals.day as removed_on
from {{ ref("stg_churn__contracts") }} as contracts
left join lateral (
    -- The first one: those after it are of later versions, which this one must not know
    select min(removals.day) as day
    from {{ ref("stg_churn__removals") }} as removals
    where
        removals.table_name = 'crm.contracts'
        and removals.row_key = contracts.contract_id
        and removals.day >= contracts.day
) as removals on true
window contract_versions as (partition by contracts.contract_id order by contracts.day)
