{{
    config(
        materialized="incremental",
        incremental_strategy="append",
        pre_hook="{{ delete_window('day') }}",
        post_hook="analyze {{ this }}",
        on_schema_change="fail",
        indexes=[{"columns": ["trip_id", "day"], "unique": true}, {"columns": ["day"]}]
    )
}}

-- The contract in features.yml says which columns these are, with their types and meaning
select * from {{ ref("taxi__features_audit") }}
