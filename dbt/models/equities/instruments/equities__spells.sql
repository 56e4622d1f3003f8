{{
    config(
        materialized="incremental",
        incremental_strategy="append",
        pre_hook="{{ delete_from('first_day') }}",
        post_hook="analyze {{ this }}",
        on_schema_change="fail",
        indexes=[{"columns": ["symbol", "first_day"], "unique": true}]
    )
}}
{# Which instrument a symbol stood for, and since when. Only the past speaks: later days never change earlier spells.

   A spell begins with the first row of a symbol under a code, and continues the instrument
   1. that the code belonged to before;
   2. else, of the symbol's spell before, unless that one's code has moved on to another symbol;
   3. else none: it begins an instrument, named as its code.
   The code is the ISIN. A row without one (the delivery file has none) is of the symbol's last spell; where there is
   none, or its ISIN has moved on to another symbol, the symbol itself is the code, in the second case with the day of
   that move, for the plain symbol may have been the code of another instrument. #}

with traded as (
    select
        symbol,
        isin,
        day
    from {{ ref("equities__window_shares") }}
),

before as (
    {% if is_incremental() %}
        select * from {{ this }}
    {% else %}
        select
            null::text as symbol,
            null::date as first_day,
            null::text as code,
            null::text as isin,
            null::text as instrument
        where false
    {% endif %}
),

-- The first row of each run of a symbol and an ISIN, as either of the two sees it
arrivals as (
    select
        symbol,
        isin,
        day
    from (
        select
            symbol,
            isin,
            day,
            lag(isin) over (partition by symbol order by day) as isin_before,
            lag(symbol) over (partition by isin order by day, symbol) as symbol_before
        from (
            select * from traded
            union all
            select
                symbol,
                isin,
                first_day
            from before
        ) as known
        where isin is not null
    ) as compared
    where
        isin is distinct from isin_before
        or symbol is distinct from symbol_before
),

holdings as (
    select
        symbol,
        day as from_day,
        lead(day) over (partition by symbol order by day) as next_day,
        lead(day) over (partition by isin order by day, symbol) as moved_on
    from arrivals
),

nameless as (
    select
        traded.symbol,
        min(traded.day) as day,
        traded.symbol || coalesce(' ' || holdings.moved_on, '') as code
    from traded
    left join holdings
        on
            traded.symbol = holdings.symbol
            and traded.day > holdings.from_day
            and (traded.day < holdings.next_day or holdings.next_day is null)
    where
        traded.isin is null
        and (holdings.symbol is null or traded.day >= holdings.moved_on)
    group by traded.symbol, holdings.moved_on
),

spells as (
    select
        symbol,
        day as first_day,
        isin as code,
        isin
    from arrivals
    where day >= date '{{ var("start_day") }}'
    union all
    select
        symbol,
        day,
        code,
        null
    from nameless
    where code not in (select code from before)
    union all
    select
        symbol,
        first_day,
        code,
        isin
    from before
),

ordered as (
    select
        *,
        lag(symbol) over by_code as code_symbol,
        lag(first_day) over by_code as code_day,
        lead(first_day) over by_code as moved_on
    from spells
    window by_code as (partition by code order by first_day, symbol)
),

linked as (
    select
        *,
        lag(first_day) over by_symbol as symbol_day,
        lag(moved_on) over by_symbol as symbol_moved_on
    from ordered
    window by_symbol as (partition by symbol order by first_day)
),

continuing as (
    select
        symbol,
        first_day,
        code,
        isin,
        case
            when code_day is not null then code_symbol
            when symbol_moved_on > first_day or symbol_moved_on is null then symbol
        end as parent_symbol,
        case
            when code_day is not null then code_day
            when symbol_moved_on > first_day or symbol_moved_on is null then symbol_day
        end as parent_day
    from linked
    where first_day >= date '{{ var("start_day") }}'
),

chains as (
    with recursive chain as (
        select * from before
        union all
        select
            *,
            code as instrument
        from (select symbol, first_day, code, isin from continuing where parent_day is null) as roots
        union all
        select
            continuing.symbol,
            continuing.first_day,
            continuing.code,
            continuing.isin,
            chain.instrument
        from chain
        inner join continuing
            on
                chain.symbol = continuing.parent_symbol
                and chain.first_day = continuing.parent_day
    )

    select * from chain
)

select
    symbol,
    first_day,
    code,
    isin,
    instrument
from chains
where first_day >= date '{{ var("start_day") }}'
