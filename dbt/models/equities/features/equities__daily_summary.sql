{{
    config(
        materialized="incremental",
        incremental_strategy="append",
        pre_hook="{{ delete_from('day') }}",
        on_schema_change="fail",
        indexes=[{"columns": ["day", "market"], "unique": true}]
    )
}}

with features as (
    select
        *,
        case when series in ('SM', 'ST', 'SZ') then 'sme' else 'main' end as board
    from {{ ref("equities__features") }}
    where day >= date '{{ var("start_day") }}'
)

select
    day,
    coalesce(board, 'all') as market,
    count(*)::int as traded,
    count(*) filter (where return_1d > 0)::int as advances,
    count(*) filter (where return_1d < 0)::int as declines,
    count(*) filter (where return_1d = 0)::int as unchanged,
    -- numeric: the sum of floats depends on the order in which they lie
    sum(turnover_inr::numeric)::float8 as turnover_inr,
    sum(volume_shares)::bigint as volume_shares,
    sum(trades)::bigint as trades,
    avg(return_1d::numeric)::float8 as return_mean,
    percentile_cont(0.5) within group (order by return_1d) as return_median
from features
group by grouping sets ((day), (day, board))
