{{
    config(
        materialized="incremental",
        incremental_strategy="delete+insert",
        unique_key=["site_id", "hour"],
        on_schema_change="fail",
        indexes=[{"columns": ["site_id", "hour"], "unique": true}],
        post_hook="delete from {{ this }} where hour < date '{{ var('end_day') }}' - {{ var('kept_days', 14) }}"
    )
}}
{# Only hours that were touched are written: those of the window whose values are not the ones that the hour was made of,
   by their count and by when the newest of them was received. #}

with hours as (
    select
        site_id,
        date_trunc('hour', observed_at, 'UTC') as hour,
        avg(discharge_m3s) as discharge_mean_m3s,
        max(discharge_m3s) as discharge_max_m3s,
        stddev_pop(discharge_m3s) as discharge_std_m3s,
        count(discharge_m3s)::int as discharge_count,
        max(revised_at) as revised_at
    from {{ source("raw_flood", "instantaneous") }}
    where day between date '{{ var("start_day") }}' and date '{{ var("end_day") }}'
    group by 1, 2
)

select hours.*
from hours
{% if is_incremental() %}
left join {{ this }} as kept using (site_id, hour)
where (kept.discharge_count, kept.revised_at) is distinct from (hours.discharge_count, hours.revised_at)
{% endif %}
