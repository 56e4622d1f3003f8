{# Trips with what is not known left empty: a coordinate outside of the region (0 says that there was none), a zone of 264
   or 265, and 0 passengers. #}
select
    trip_id,
    day,
    pickup_at at time zone 'America/New_York' as pickup_local,
    distance_miles,
    nullif(passengers, 0) as passengers,
    case when pickup_is_near then pickup_longitude end as pickup_longitude,
    case when pickup_is_near then pickup_latitude end as pickup_latitude,
    case when dropoff_is_near then dropoff_longitude end as dropoff_longitude,
    case when dropoff_is_near then dropoff_latitude end as dropoff_latitude,
    case when pickup_zone < 264 then pickup_zone end as pickup_zone,
    case when dropoff_zone < 264 then dropoff_zone end as dropoff_zone,
    rate,
    payment,
    fare_usd,
    total_usd
from {{ source("raw_taxi", "trips") }}
cross join
    lateral (
        select
            pickup_longitude between -75 and -72 and pickup_latitude between 40 and 42 as pickup_is_near,
            dropoff_longitude between -75 and -72 and dropoff_latitude between 40 and 42 as dropoff_is_near
    ) as placed
