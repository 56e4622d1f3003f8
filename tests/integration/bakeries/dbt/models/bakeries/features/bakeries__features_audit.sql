{{ config(materialized="table", schema="audit") }}

with sales as (
    select
        shop_id,
        sales.day,
        sales.sold_count / shops.baked_count::float8 as sold_share
    from {{ ref("stg_bakeries__sales") }} as sales
    inner join {{ ref("stg_bakeries__shops") }} as shops using (shop_id)
    where sales.day between date '{{ var("start_day") }}' - 7 and date '{{ var("end_day") }}' + 1
),

windowed as (
    select
        shop_id,
        day,
        sold_share,
        avg(sold_share) over (
            shop_days range between interval '7 days' preceding and interval '1 day' preceding
        ) as sold_share_7d,
        max(sold_share) over (
            shop_days range between interval '1 day' following and interval '1 day' following
        ) as sold_share_next
    from sales
    window shop_days as (partition by shop_id order by day)
)

select
    shop_id,
    day,
    sold_share,
    sold_share_7d,
    extract(isodow from day)::bigint - 1 as weekday,
    sold_share_next >= 1 as is_sold_out_next
from windowed
where day between date '{{ var("start_day") }}' and date '{{ var("end_day") }}'
