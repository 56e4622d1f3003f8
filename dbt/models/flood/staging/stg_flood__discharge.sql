select * from {{ source("raw_flood", "discharge") }}
