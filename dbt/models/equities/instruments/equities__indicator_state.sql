{{
    config(
        materialized="incremental",
        incremental_strategy="append",
        pre_hook=["{{ delete_from('day') }}", "{{ create_ema() }}"],
        post_hook="analyze {{ this }}",
        on_schema_change="fail",
        indexes=[{"columns": ["instrument", "sessions"], "unique": true}, {"columns": ["day"]}]
    )
}}
{# What each session hands on to the next, per share of the instrument's first session ("base"): a price times
   `share_factor`, the shares that one of the first session has become. No later action changes that, so what is stored
   never has to be rescaled; divided by its day's share_factor, a value is in INR per share of that day. #}
{# A price of a few paise moves by such factors from one tick to the next, so a jump is also more than a tick (0.05 INR,
   and less since 2024) #}
{% set unexplained, tick_inr = 1.5, 0.0501 %}

with days as (
    select
        instrument_days.*,
        coalesce(share_factors.share_factor, 1) as share_factor
    from {{ ref("equities__instrument_days") }} as instrument_days
    left join {{ ref("equities__share_factors") }} as share_factors
        on
            instrument_days.instrument = share_factors.instrument
            and instrument_days.day >= share_factors.from_day
            and instrument_days.day < share_factors.until_day
    where instrument_days.day >= date '{{ var("start_day") }}'
),

-- The day's range spans its open and close, whatever a file says
traded as (
    select
        instrument,
        sessions,
        day,
        share_factor,
        open_inr * share_factor as open_base,
        greatest(high_inr, open_inr, close_inr) * share_factor as high_base,
        least(low_inr, open_inr, close_inr) * share_factor as low_base,
        close_inr * share_factor as close_base,
        volume_shares / share_factor as volume_base
    from days
),


-- An average takes in the prices of the window; of the session before the window, the average itself
entering as (
    select
        *,
        false as is_carried,
        close_base as ema_12,
        close_base as ema_26,
        close_base as ema_50,
        null::float8 as macd_signal,
        null::float8 as gain,
        null::float8 as loss,
        null::float8 as true_range,
        null::float8 as signed_volume
    from traded

    {% if is_incremental() %}
        union all
        select
            last.instrument,
            last.sessions,
            last.day,
            last.share_factor,
            null,
            last.high_base,
            last.low_base,
            last.close_base,
            last.volume_base,
            true,
            last.ema_12,
            last.ema_26,
            last.ema_50,
            last.macd_signal,
            last.mean_gain,
            last.mean_loss,
            last.atr_14,
            last.obv
        from (select distinct instrument from traded) as present
        cross join lateral (
            select * from {{ this }} as state
            where state.instrument = present.instrument
            order by state.sessions desc
            limit 1
        ) as last
    {% endif %}
),

followed as (
    select
        *,
        lag(close_base) over (partition by instrument order by sessions) as previous_base
    from entering
),

-- In the first session `greatest` passes over the close before, which is not known: no gain, no loss, range of the day
moved as (
    select
        instrument,
        sessions,
        day,
        is_carried,
        share_factor,
        high_base,
        low_base,
        close_base,
        volume_base,
        previous_base,
        open_base,
        macd_signal,
        ema_12,
        ema_26,
        ema_50,
        case when is_carried then gain else greatest(close_base - previous_base, 0) end as gain,
        case when is_carried then loss else greatest(previous_base - close_base, 0) end as loss,
        case
            when is_carried then true_range
            else greatest(high_base - low_base, abs(high_base - previous_base), abs(low_base - previous_base))
        end as true_range,
        case
            when is_carried then signed_volume
            when close_base < previous_base then -volume_base
            else volume_base
        end as signed_volume
    from followed
),

averaged as (
    select
        *,
        {{ ema("ema_12", 12, "by_session") }} as averaged_12,
        {{ ema("ema_26", 26, "by_session") }} as averaged_26,
        {{ ema("ema_50", 50, "by_session") }} as averaged_50,
        {{ wilder("gain", 14, "by_session") }} as mean_gain,
        {{ wilder("loss", 14, "by_session") }} as mean_loss,
        -- The plain mean of the first 14 ranges, Wilder's average after them
        {{ wilder("true_range", "least(sessions, 14)", "by_session") }} as atr_14,
        sum(signed_volume) over by_session as obv
    from moved
    window by_session as (partition by instrument order by sessions)
),

-- The signal begins with the first MACD, in the 26th session
macds as (
    select
        *,
        case
            when is_carried then macd_signal
            when sessions >= 26 then averaged_12 - averaged_26
        end as macd
    from averaged
),

signalled as (
    select
        *,
        {{ ema("macd", 9, "by_session") }} as signal
    from macds
    window by_session as (partition by instrument order by sessions)
)

select
    instrument,
    sessions,
    day,
    share_factor,
    high_base,
    low_base,
    close_base,
    volume_base,
    coalesce(
        greatest(open_base, previous_base) > {{ unexplained }} * least(open_base, previous_base)
        and abs(open_base - previous_base) > {{ tick_inr }} * share_factor,
        false
    ) as is_unexplained_jump,
    averaged_12 as ema_12,
    averaged_26 as ema_26,
    averaged_50 as ema_50,
    signal as macd_signal,
    mean_gain,
    mean_loss,
    atr_14,
    obv
from signalled
where not is_carried
