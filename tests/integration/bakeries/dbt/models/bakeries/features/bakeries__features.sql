{{
    config(
        materialized="incremental",
        incremental_strategy="append",
        pre_hook="{{ delete_window('day') }}",
        on_schema_change="fail",
        indexes=[{"columns": ["shop_id", "day"], "unique": true}]
    )
}}

select * from {{ ref("bakeries__features_audit") }}
