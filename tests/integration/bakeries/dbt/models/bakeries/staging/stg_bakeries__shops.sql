select * from {{ source("raw_bakeries", "shops") }}
