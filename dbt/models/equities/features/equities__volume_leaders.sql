{{
    config(
        materialized="incremental",
        incremental_strategy="append",
        pre_hook="{{ delete_from('day') }}",
        on_schema_change="fail",
        indexes=[{"columns": ["day", "ranking", "rank"], "unique": true}]
    )
}}
{% set places = 20 %}

with features as (
    select
        day,
        symbol,
        instrument,
        turnover_inr,
        volume_shares,
        volume_shares / nullif(volume_sma_20_shares, 0) as volume_ratio
    from {{ ref("equities__features") }}
    where day >= date '{{ var("start_day") }}'
),

ranked as (
    select
        'turnover' as ranking,
        features.*,
        row_number() over (partition by day order by turnover_inr desc, symbol) as rank
    from features
    union all
    select
        'volume_ratio',
        features.*,
        row_number() over (partition by day order by volume_ratio desc, symbol)
    from features
    where volume_ratio is not null
)

select
    day,
    ranking,
    rank::int as rank,
    symbol,
    instrument,
    turnover_inr,
    volume_shares,
    volume_ratio
from ranked
where rank <= {{ places }}
