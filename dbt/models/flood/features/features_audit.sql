{{ config(materialized="table", schema="audit") }}
{# The window's features, before they are published: `features` takes them over when their tests have passed. #}
{% set memory_days = 90 %}

with observed as (
    select site_id, day from {{ ref("stg_flood__discharge") }}
    union all
    select site_id, day from {{ ref("stg_flood__weather") }}
),

-- Every day of every site, also those without a value: a lag is a day of the calendar, not a row. One day more
-- than the window, because the label is the next day's discharge.
spine as (
    select
        known.site_id,
        days.day::date as day
    from (
        select
            site_id,
            min(day) as first_day,
            max(day) as last_day
        from observed
        group by site_id
    ) as known
    cross join lateral
        generate_series(
            greatest(known.first_day, date '{{ var("start_day") }}' - {{ memory_days }}),
            least(known.last_day, date '{{ var("end_day") }}' + 1),
            interval '1 day'
        ) as days (day)
),

-- Materialized: left to itself the planner works a percentile out anew for every row that it joins
thresholds as materialized (
    select * from {{ ref("flood_thresholds") }}
),

daily as (
    select
        spine.site_id,
        spine.day,
        discharge.discharge_m3s,
        weather.precip_mm,
        weather.temp_mean_c,
        forecast.precip_next_mm,
        forecast.temp_next_c,
        forecast.is_hindcast,
        -- A day without a temperature says nothing of either: `greatest` would make a 0 of it
        case when weather.temp_mean_c < 0 then weather.precip_mm when weather.temp_mean_c >= 0 then 0 end as snowfall_mm,
        case when weather.temp_mean_c is not null then greatest(weather.temp_mean_c, 0) end as thaw_c
    from spine
    left join {{ ref("stg_flood__discharge") }} as discharge using (site_id, day)
    left join {{ ref("stg_flood__weather") }} as weather using (site_id, day)
    left join {{ ref("stg_flood__forecast") }} as forecast using (site_id, day)
),

windowed as (
    select
        *,
        lag(discharge_m3s, 1) over site_days as discharge_lag1_m3s,
        lag(discharge_m3s, 2) over site_days as discharge_lag2_m3s,
        lag(discharge_m3s, 3) over site_days as discharge_lag3_m3s,
        avg(discharge_m3s) over (site_days rows 2 preceding) as discharge_mean_3d_m3s,
        avg(discharge_m3s) over (site_days rows 6 preceding) as discharge_mean_7d_m3s,
        avg(discharge_m3s) over (site_days rows 29 preceding) as discharge_mean_30d_m3s,
        max(discharge_m3s) over (site_days rows 6 preceding) as discharge_max_7d_m3s,
        lag(precip_mm, 1) over site_days as precip_lag1_mm,
        lag(precip_mm, 2) over site_days as precip_lag2_mm,
        lag(precip_mm, 3) over site_days as precip_lag3_mm,
        sum(precip_mm) over (site_days rows 2 preceding) as precip_sum_3d_mm,
        sum(precip_mm) over (site_days rows 6 preceding) as precip_sum_7d_mm,
        sum(precip_mm) over (site_days rows 13 preceding) as precip_sum_14d_mm,
        sum(precip_mm) over (site_days rows 29 preceding) as precip_sum_30d_mm,
        sum(precip_mm) over (site_days rows 89 preceding) as precip_sum_90d_mm,
        avg(temp_mean_c) over (site_days rows 6 preceding) as temp_mean_7d_c,
        avg(temp_mean_c) over (site_days rows 29 preceding) as temp_mean_30d_c,
        sum(snowfall_mm) over (site_days rows 89 preceding) as snowfall_sum_90d_mm,
        sum(thaw_c) over (site_days rows 6 preceding) as thaw_sum_7d_c,
        lead(discharge_m3s) over site_days as discharge_next_m3s
    from daily
    window site_days as (partition by site_id order by day)
)

select
    windowed.site_id,
    windowed.day,
    windowed.discharge_m3s,
    discharge_lag1_m3s,
    discharge_lag2_m3s,
    discharge_lag3_m3s,
    discharge_mean_3d_m3s,
    discharge_mean_7d_m3s,
    discharge_mean_30d_m3s,
    discharge_max_7d_m3s,
    windowed.discharge_m3s - discharge_lag1_m3s as discharge_change_1d_m3s,
    precip_mm,
    precip_lag1_mm,
    precip_lag2_mm,
    precip_lag3_mm,
    precip_sum_3d_mm,
    precip_sum_7d_mm,
    precip_sum_14d_mm,
    precip_sum_30d_mm,
    precip_sum_90d_mm,
    precip_next_mm,
    temp_mean_c,
    temp_mean_7d_c,
    temp_mean_30d_c,
    temp_next_c,
    snowfall_sum_90d_mm,
    thaw_sum_7d_c,
    sin(2 * pi() * extract(doy from windowed.day)::float8 / 365.25) as season_sin,
    cos(2 * pi() * extract(doy from windowed.day)::float8 / 365.25) as season_cos,
    thresholds.flood_threshold_m3s,
    windowed.discharge_next_m3s,
    windowed.discharge_next_m3s > thresholds.flood_threshold_m3s as is_flood_next,
    coalesce(is_hindcast, false) as is_hindcast
from windowed
left join thresholds
    on
        windowed.site_id = thresholds.site_id
        and extract(year from windowed.day) = thresholds.year
where
    windowed.day between date '{{ var("start_day") }}' and date '{{ var("end_day") }}'
    and (windowed.discharge_m3s is not null or precip_mm is not null)
