{{ config(materialized="table", schema="audit") }}
{# The window's features, before they are published: `features` takes them over when their tests have passed. A row is
   a month that a customer was billed for, as it was known at the month's end. #}

with bills as (
    select
        *,
        (month + interval '1 month' - interval '1 day')::date as day,
        customer_id || ' ' || to_char(month, 'YYYY-MM-DD') as row_key,
        coalesce((updated_at at time zone 'UTC')::date, '-infinity'::date) as marked_on
    from {{ ref("stg_churn__usage") }}
    where month >= (date '{{ var("start_day") }}' - interval '4 months')
),

removals as (
    select
        row_key,
        day
    from {{ ref("stg_churn__removals") }}
    where table_name = 'crm.monthly_usage'
),

-- What a bill says together with those of the two months before, without those that were known to be deleted by its day
three_months as (
    select
        bills.customer_id,
        bills.month,
        (array_agg(earlier.charge_usd order by earlier.month))[1] as first_charge_usd,
        avg(earlier.data_gb order by earlier.month) as data_mean_3m_gb,
        sum(earlier.support_calls) as support_calls_3m
    from bills
    cross join generate_series(0, 2) as back (months)
    inner join bills as earlier
        on
            bills.customer_id = earlier.customer_id
            and earlier.month = (bills.month - make_interval(months => back.months))::date
    where
        not exists (
            select
            from removals
            where
                removals.row_key = earlier.row_key
                and removals.day <= bills.day
                -- One that came back counts from its new mark on; the month's own bill is written after its day
                and not (earlier.marked_on > removals.day and (back.months = 0 or earlier.marked_on <= bills.day))
        )
    group by bills.customer_id, bills.month
    having bool_or(back.months = 0)
),

billed as (
    select
        bills.customer_id,
        bills.day,
        (bills.month + interval '2 months' - interval '1 day')::date as label_day,
        bills.month,
        bills.charge_usd,
        bills.total_charge_usd,
        bills.charge_usd - three_months.first_charge_usd as charge_change_3m_usd,
        bills.data_gb,
        three_months.data_mean_3m_gb,
        bills.support_calls,
        three_months.support_calls_3m
    from bills
    inner join three_months
        on
            bills.customer_id = three_months.customer_id
            and bills.month = three_months.month
),

-- Whether somebody left is known of a month when rows of a later day have come
known as (
    select
        greatest(
            (select max(day) from {{ ref("stg_churn__customers") }}),
            (select max(day) from {{ ref("stg_churn__contracts") }}),
            (select max(day) from {{ ref("stg_churn__removals") }})
        ) as through
),

contracts as (
    select distinct on (billed.customer_id, billed.day)
        billed.customer_id,
        billed.day,
        versions.contract,
        versions.has_phone,
        versions.has_multiple_lines,
        versions.internet_service,
        versions.has_online_security,
        versions.has_online_backup,
        versions.has_device_protection,
        versions.has_tech_support,
        versions.has_streaming_tv,
        versions.has_streaming_movies,
        versions.started_on,
        versions.valid_from = '-infinity'::date and versions.day > billed.day as is_first_version
    from billed
    inner join {{ ref("churn__contract_versions") }} as versions
        on
            billed.customer_id = versions.customer_id
            and billed.day >= versions.valid_from
            and billed.day < versions.valid_to
    where
        (versions.started_on is null or versions.started_on <= billed.day)
        and (versions.ended_on is null or versions.ended_on >= billed.day)
        and (versions.removed_on is null or versions.removed_on > billed.day)
    order by billed.customer_id, billed.day, versions.started_on desc nulls last, versions.contract_id
)

select
    billed.customer_id,
    billed.day,
    greatest(
        (extract(year from billed.month) - extract(year from customers.joined_on)) * 12
        + extract(month from billed.month) - extract(month from customers.joined_on),
        0
    )::bigint as tenure_months,
    customers.gender,
    customers.is_senior,
    customers.has_partner,
    customers.has_dependents,
    customers.payment_method,
    customers.is_paperless,
    contracts.contract,
    contracts.has_phone,
    contracts.has_multiple_lines,
    contracts.internet_service,
    contracts.has_online_security,
    contracts.has_online_backup,
    contracts.has_device_protection,
    contracts.has_tech_support,
    contracts.has_streaming_tv,
    contracts.has_streaming_movies,
    (billed.day - contracts.started_on)::bigint as contract_age_days,
    billed.charge_usd,
    billed.total_charge_usd,
    billed.charge_change_3m_usd,
    billed.data_gb,
    billed.data_mean_3m_gb,
    billed.support_calls,
    billed.support_calls_3m::bigint as support_calls_3m,
    case
        when known.through < billed.label_day then null
        -- Gone by then, as was noted only later
        when customers.newest_left_on <= billed.day then null
        when customers.newest_left_on <= billed.label_day then true
        -- Erased within the month: whether the customer left by themselves is not known
        when customers.newest_removed_on <= billed.label_day then null
        else false
    end as is_churn_next_month,
    billed.label_day,
    (customers.valid_from = '-infinity'::date and customers.day > billed.day)
    or coalesce(contracts.is_first_version, false) as is_first_version
from billed
cross join known
inner join {{ ref("churn__customer_versions") }} as customers
    on
        billed.customer_id = customers.customer_id
        and billed.day >= customers.valid_from
        and billed.day < customers.valid_to
left join contracts
    on
        billed.customer_id = contracts.customer_id
        and billed.day = contracts.day
where
    billed.day between date '{{ var("start_day") }}' and date '{{ var("end_day") }}'
    and (customers.left_on is null or customers.left_on > billed.day)
    and (customers.removed_on is null or customers.removed_on > billed.day)
