select * from {{ source("raw_flood", "weather") }}
