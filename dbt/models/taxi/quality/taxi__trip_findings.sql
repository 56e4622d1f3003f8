{{ config(materialized="view") }}
{# Trips that contradict themselves. They are rows like others; the monthly audit counts them. #}
select
    trips.day,
    trips.trip_id,
    findings.finding
from {{ source("raw_taxi", "trips") }} as trips
cross join
    lateral (
        values
        (trips.dropoff_at < trips.pickup_at, 'ends before it begins'),
        (trips.dropoff_at > trips.pickup_at + interval '12 hours', 'lasts longer than 12 hours'),
        (trips.distance_miles = 0 and trips.fare_usd > 0, 'a fare without a distance'),
        (trips.fare_usd <= 0, 'no fare, or one paid back'),
        (trips.pickup_longitude = 0 or trips.pickup_latitude = 0, 'coordinates of zero')
    ) as findings (holds, finding)
where findings.holds
