select * from {{ source("raw_churn", "customers") }}
