{{
    config(
        materialized="incremental",
        incremental_strategy="append",
        pre_hook="{{ delete_window('day') }}",
        on_schema_change="fail",
        indexes=[{"columns": ["customer_id", "day"], "unique": true}]
    )
}}

-- The contract in features.yml says which columns these are, with their types and meaning
select * from {{ ref("churn__features_audit") }}
