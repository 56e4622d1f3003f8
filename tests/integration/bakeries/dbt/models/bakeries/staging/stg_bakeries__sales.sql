select * from {{ source("raw_bakeries", "sales") }}
