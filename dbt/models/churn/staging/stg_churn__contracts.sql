select * from {{ source("raw_churn", "contracts") }}
