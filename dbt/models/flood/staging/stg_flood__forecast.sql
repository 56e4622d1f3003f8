select * from {{ source("raw_flood", "forecast") }}
