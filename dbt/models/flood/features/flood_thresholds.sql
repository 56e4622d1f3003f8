{{ config(materialized="ephemeral") }}
{# What counts as a flood in a year: the discharge at the site's flood stage, else the 98th percentile of all days
   before that year. Only the past speaks, so that nothing of a hold-out reaches a label or a feature. #}

select
    sites.site_id,
    years.year,
    coalesce(sites.flood_discharge_m3s, history.p98_m3s) as flood_threshold_m3s,
    sites.flood_discharge_m3s is not null as is_flood_stage
from {{ ref("stg_flood__sites") }} as sites
cross join
    generate_series(
        greatest(
            extract(year from date '{{ var("start_day") }}'),
            (select extract(year from min(day)) from {{ ref("stg_flood__discharge") }})
        )::int,
        least(extract(year from date '{{ var("end_day") }}'), extract(year from now()) + 1)::int
    ) as years (year)
left join lateral (
    select percentile_cont(0.98) within group (order by discharge.discharge_m3s) as p98_m3s
    from {{ ref("stg_flood__discharge") }} as discharge
    where
        discharge.site_id = sites.site_id
        and discharge.day < make_date(years.year, 1, 1)
    -- Less than most of a year does not say what is rare. At a river that is dry for 98 days in 100 the
    -- percentile is 0, and any water at all would count: there, no threshold is better.
    having count(discharge.discharge_m3s) >= 300
) as history on true
where coalesce(sites.flood_discharge_m3s, history.p98_m3s) > 0
