select * from {{ source("raw_equities", "actions") }}
