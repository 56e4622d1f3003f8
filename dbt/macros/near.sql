{# Whether a point is within a box of so many degrees around another: two hundredths are about a mile and a half. #}
{% macro is_near(longitude, latitude, at_longitude, at_latitude, degrees=0.02) -%}
    (abs({{ longitude }} - ({{ at_longitude }})) < {{ degrees }} * 1.3 and abs({{ latitude }} - {{ at_latitude }}) < {{ degrees }})
{%- endmacro %}

{# Distance of two points on the sphere, in miles (haversine; radius 3958.8 miles); null where one is not known, for
   `least` passes over what is null. #}
{% macro straight_miles(longitude, latitude, to_longitude, to_latitude) -%}
    case when {{ longitude }} + {{ latitude }} + {{ to_longitude }} + {{ to_latitude }} is not null then
    2 * 3958.8 * asin(sqrt(least(1.0,
        power(sin(radians({{ to_latitude }} - {{ latitude }}) / 2), 2)
        + cos(radians({{ latitude }})) * cos(radians({{ to_latitude }}))
        * power(sin(radians({{ to_longitude }} - {{ longitude }}) / 2), 2)
    ))) end
{%- endmacro %}
