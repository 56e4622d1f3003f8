select * from {{ source("raw_churn", "usage") }}
