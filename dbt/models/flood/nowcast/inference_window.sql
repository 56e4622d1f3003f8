{{
    config(
        materialized="table",
        alias=var("inference_table", "inference_window"),
        indexes=[{"columns": ["site_id"], "unique": true}]
    )
}}

-- A table made anew each time holds no dead rows; a few readers look at one row or at all of them
select * from {{ ref("inference_window_audit") }}
