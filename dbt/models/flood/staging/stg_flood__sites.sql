select * from {{ source("raw_flood", "sites") }}
