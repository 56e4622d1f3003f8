{{ config(materialized="table", schema="audit") }}
{# The features as of now, in the definitions of flood.features, where a day of discharge is one of 24 hours that end at
   `as_of`: day 0 the last one, day 1 the one before. A day with values in fewer than 18 of its hours is not spoken for by
   them: in its place stands the daily value of the calendar day, as it does for the days before the values begin. All
   that hangs on the weather, and the threshold, are those of the newest day of flood.features that was over at `as_of`. #}
{% set as_of = "timestamptz '" ~ var("as_of", "2100-01-01T00:00:00+00:00") ~ "'" %}
{% set step = "interval '" ~ var("minutes", 15) ~ " minutes'" %}
{% set window_days = var("window_days", 7) %}
{% set least_hours = 18 %}
{% set memory_days = 30 %}

with sites as (
    select site_id, coalesce(timezone, 'UTC') as timezone from {{ source("raw_flood", "sites") }}
),

-- A value stands for the time until the next one. What is measured at `as_of` itself belongs to the time after it.
newest as (
    select
        site_id,
        max(observed_at) as newest_at,
        least({{ as_of }}, max(observed_at) + {{ step }}) as as_of
    from {{ source("raw_flood", "instantaneous") }}
    where
        observed_at < {{ as_of }}
        and day >= date '{{ var("end_day") }}' - {{ var("kept_days", 14) }}
        and discharge_m3s is not null
    group by site_id
),

present as (
    select
        sites.site_id,
        newest.newest_at,
        newest.as_of,
        -- The last calendar day at the site that was over then
        (newest.as_of at time zone sites.timezone)::date - 1 as day
    from sites
    left join newest using (site_id)
),

measured as (
    select
        instants.site_id,
        (ceil(extract(epoch from present.as_of - instants.observed_at) / 86400) - 1)::int as lag_days,
        avg(instants.discharge_m3s) as discharge_m3s,
        max(instants.discharge_m3s) as discharge_max_m3s,
        count(distinct date_trunc('hour', instants.observed_at, 'UTC')) as hours
    from {{ source("raw_flood", "instantaneous") }} as instants
    inner join present using (site_id)
    where
        instants.observed_at < present.as_of
        and instants.observed_at >= present.as_of - interval '{{ window_days * 24 }} hours'
        and instants.day >= present.day - {{ window_days }}
        and instants.discharge_m3s is not null
    group by 1, 2
    -- A gauge that measures every hour or more often
    having count(distinct date_trunc('hour', instants.observed_at, 'UTC')) >= {{ least_hours }}
),

daily as (
    select
        present.site_id,
        lags.lag_days,
        coalesce(
            measured.discharge_m3s,
            -- Of the last 24 hours nothing stands in: they are what the forecast is made from
            case when lags.lag_days > 0 then features.discharge_m3s end
        ) as discharge_m3s
    from present
    cross join generate_series(0, {{ memory_days - 1 }}) as lags (lag_days)
    left join measured using (site_id, lag_days)
    left join {{ ref("features") }} as features
        on present.site_id = features.site_id and features.day = present.day - lags.lag_days
    where present.as_of is not null
),

discharge as (
    select
        site_id,
        max(discharge_m3s) filter (where lag_days = 0) as discharge_m3s,
        max(discharge_m3s) filter (where lag_days = 1) as discharge_lag1_m3s,
        max(discharge_m3s) filter (where lag_days = 2) as discharge_lag2_m3s,
        max(discharge_m3s) filter (where lag_days = 3) as discharge_lag3_m3s,
        avg(discharge_m3s) filter (where lag_days < 3) as discharge_mean_3d_m3s,
        avg(discharge_m3s) filter (where lag_days < 7) as discharge_mean_7d_m3s,
        avg(discharge_m3s) filter (where lag_days < 30) as discharge_mean_30d_m3s,
        max(discharge_m3s) filter (where lag_days < 7) as discharge_max_7d_m3s
    from daily
    group by site_id
),

-- A place for each of the last whole hours, the oldest first; the present one is not over
grid as (
    select hour
    from generate_series(
        date_trunc('hour', {{ as_of }}, 'UTC') - interval '{{ window_days * 24 }} hours',
        date_trunc('hour', {{ as_of }}, 'UTC') - interval '1 hour',
        interval '1 hour'
    ) as hours (hour)
),

hours as (
    select
        sites.site_id,
        min(grid.hour) as hourly_from,
        array_agg(hourly.discharge_mean_m3s order by grid.hour) as hourly_mean_m3s,
        array_agg(hourly.discharge_max_m3s order by grid.hour) as hourly_max_m3s,
        array_agg(hourly.discharge_std_m3s order by grid.hour) as hourly_std_m3s,
        array_agg(coalesce(hourly.discharge_count, 0)::smallint order by grid.hour) as hourly_count
    from sites
    cross join grid
    left join {{ ref("discharge_hourly") }} as hourly using (site_id, hour)
    group by sites.site_id
),

joined as (
    select
        present.site_id,
        present.day,
        present.as_of,
        present.newest_at,
        (extract(epoch from {{ as_of }} - present.newest_at) / 60)::int as late_minutes,
        features.day as weather_day,
        discharge.discharge_m3s,
        discharge.discharge_lag1_m3s,
        discharge.discharge_lag2_m3s,
        discharge.discharge_lag3_m3s,
        discharge.discharge_mean_3d_m3s,
        discharge.discharge_mean_7d_m3s,
        discharge.discharge_mean_30d_m3s,
        discharge.discharge_max_7d_m3s,
        discharge.discharge_m3s - discharge.discharge_lag1_m3s as discharge_change_1d_m3s,
        features.precip_mm,
        features.precip_lag1_mm,
        features.precip_lag2_mm,
        features.precip_lag3_mm,
        features.precip_sum_3d_mm,
        features.precip_sum_7d_mm,
        features.precip_sum_14d_mm,
        features.precip_sum_30d_mm,
        features.precip_sum_90d_mm,
        features.precip_next_mm,
        features.temp_mean_c,
        features.temp_mean_7d_c,
        features.temp_mean_30d_c,
        features.temp_next_c,
        features.snowfall_sum_90d_mm,
        features.thaw_sum_7d_c,
        features.season_sin,
        features.season_cos,
        features.flood_threshold_m3s,
        hours.hourly_from,
        hours.hourly_mean_m3s,
        hours.hourly_max_m3s,
        hours.hourly_std_m3s,
        hours.hourly_count
    from present
    left join discharge using (site_id)
    left join hours using (site_id)
    left join lateral (
        select *
        from {{ ref("features") }} as known
        where known.site_id = present.site_id and known.day <= present.day
        order by known.day desc
        limit 1
    ) as features on true
)

select
    *,
    late_minutes is null or late_minutes > {{ var("stale_minutes", 120) }} as is_stale,
    coalesce(
        as_of >= {{ as_of }} - interval '{{ var("forecast_hours", 6) }} hours'
        and weather_day >= day - {{ var("daily_days", 3) }}
        and discharge_m3s is not null
        and flood_threshold_m3s is not null,
        false
    ) as has_forecast,
    {{ as_of }} as built_for
from joined
