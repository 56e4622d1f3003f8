select * from {{ source("raw_churn", "removals") }}
