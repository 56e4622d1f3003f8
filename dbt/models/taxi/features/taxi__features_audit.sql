{{ config(materialized="table", schema="audit") }}
{# The window's features, before they are published: `features` takes them over when their tests have passed. #}
{% set airports = [("jfk", 132, -73.785, 40.645), ("laguardia", 138, -73.872, 40.774), ("newark", 1, -74.178, 40.69)] %}

select
    trip_id,
    day,
    extract(hour from pickup_local)::float8 + extract(minute from pickup_local)::float8 / 60 as pickup_hour,
    extract(isodow from pickup_local)::bigint as weekday,
    distance_miles,
    passengers,
    pickup_longitude,
    pickup_latitude,
    dropoff_longitude,
    dropoff_latitude,
    {{ straight_miles("pickup_longitude", "pickup_latitude", "dropoff_longitude", "dropoff_latitude") }}
        as straight_miles,
    pickup_zone,
    dropoff_zone,
{% for name, zone, longitude, latitude in airports %}
    coalesce(
        pickup_zone = {{ zone }} or dropoff_zone = {{ zone }}
        or {{ is_near("pickup_longitude", "pickup_latitude", longitude, latitude) }}
        or {{ is_near("dropoff_longitude", "dropoff_latitude", longitude, latitude) }},
        false
    ) as is_{{ name }},
{% endfor %}
    rate,
    payment,
    fare_usd,
    total_usd
from {{ ref("stg_taxi__trips") }}
where day between date '{{ var("start_day") }}' and date '{{ var("end_day") }}'
