{{
    config(
        materialized="incremental",
        incremental_strategy="append",
        pre_hook="{{ delete_from('day') }}",
        on_schema_change="fail",
        indexes=[{"columns": ["day"]}]
    )
}}

select
    features.day,
    features.symbol,
    features.instrument,
    features.open_inr,
    previous.close_inr as previous_close_inr,
    'open ' || round((features.open_inr / previous.close_inr)::numeric, 3) || ' times the close of ' || previous.day
    || ', and no action that says so' as finding
from {{ ref("equities__features") }} as features
inner join {{ ref("equities__instrument_days") }} as previous
    on
        features.instrument = previous.instrument
        and features.sessions - 1 = previous.sessions
where
    features.is_unexplained_jump
    and features.day >= date '{{ var("start_day") }}'
