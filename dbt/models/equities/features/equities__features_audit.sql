{{ config(materialized="table", schema="audit") }}
{# The window's features, before they are published: `features` takes them over when their tests have passed.
   Prices "base" are per share of the instrument's first session: see indicator_state. #}
{% set close_lengths, volume_lengths = [5, 10, 20, 50, 100, 200], [5, 20] %}
{% set longest, short = 200, 20 %}
{% set label_sessions, label_days = 5, 21 %}

with first_sessions as (
    select
        instrument,
        min(sessions) as first_session
    from {{ ref("equities__indicator_state") }}
    where day >= date '{{ var("start_day") }}'
    group by instrument
),

-- By session and not by day: an instrument's last 200 sessions may reach back for years
history as (
    select
        first_sessions.first_session,
        state.*
    from first_sessions
    inner join {{ ref("equities__indicator_state") }} as state
        on
            first_sessions.instrument = state.instrument
            and state.sessions > first_sessions.first_session - {{ longest }}
),

-- Running sums are numeric: the difference of two is exact, from whichever session they begin. A moving window would be
-- added up anew for each row.
summed as (
    select
        *,
        sum(close_base::numeric) over by_session as closes_base,
        sum(volume_base::numeric) over by_session as volumes_base
    from history
    window by_session as (partition by instrument order by sessions)
),

remembered as (
    select
        *,
        {% for length in volume_lengths %}
            lag(volumes_base, {{ length }}, 0.0) over by_session as volumes_before_{{ length }}_base,
        {% endfor %}
        {% for length in close_lengths %}
            lag(closes_base, {{ length }}, 0.0) over by_session as closes_before_{{ length }}_base{{ "," if not loop.last }}
        {% endfor %}
    from summed
    window by_session as (partition by instrument order by sessions)
),

compared as (
    select
        *,
        close_base / lag(close_base, 1) over by_session - 1 as return_1d,
        close_base / lag(close_base, 5) over by_session - 1 as return_5d,
        close_base / lag(close_base, 20) over by_session - 1 as return_20d,
        ln(close_base / lag(close_base, 1) over by_session) as log_return,
        min(low_base) over (by_session rows 13 preceding) as low_14_base,
        max(high_base) over (by_session rows 13 preceding) as high_14_base,
        lead(day, {{ label_sessions }}) over by_session as label_day,
        lead(close_base, {{ label_sessions }}) over by_session as label_base,
        bool_or(is_unexplained_jump) over (by_session rows between 1 following and {{ label_sessions }} following)
            as is_label_broken,
        {% for length in volume_lengths %}
            case when sessions >= {{ length }} then (volumes_base - volumes_before_{{ length }}_base)::float8 / {{ length }} end
                as volume_sma_{{ length }}_base,
        {% endfor %}
        {% for length in close_lengths %}
            case when sessions >= {{ length }} then (closes_base - closes_before_{{ length }}_base)::float8 / {{ length }} end
                as sma_{{ length }}_base{{ "," if not loop.last }}
        {% endfor %}
    from remembered
    where sessions >= first_session - {{ short }}
    window by_session as (partition by instrument order by sessions)
),

located as (
    select
        *,
        -- In this order it is at most 100, also after rounding
        case when sessions >= 14 then 100 * ((close_base - low_14_base) / nullif(high_14_base - low_14_base, 0)) end
            as stochastic_k_14,
        label_day <= day + {{ label_days }} and not is_label_broken as is_labelled
    from compared
),

rolled as (
    select
        *,
        case when sessions > 20 then stddev_samp(log_return) over (by_session rows 19 preceding) end as volatility_20d,
        case when sessions >= 20 then stddev_pop(close_base) over (by_session rows 19 preceding) end as deviation_20_base,
        (stochastic_k_14 + lag(stochastic_k_14, 1) over by_session + lag(stochastic_k_14, 2) over by_session) / 3
            as stochastic_d_3
    from located
    window by_session as (partition by instrument order by sessions)
),

market as (
    select
        day,
        percentile_cont(0.5) within group (order by return_1d) as return_1d,
        percentile_cont(0.5) within group (order by return_5d) as return_5d
    from compared
    where day >= date '{{ var("start_day") }}'
    group by day
)

select
    days.symbol,
    days.day,
    days.instrument,
    days.isin,
    days.series,
    days.sessions,
    rolled.is_unexplained_jump,
    days.open_inr,
    days.high_inr,
    days.low_inr,
    days.close_inr,
    days.volume_shares,
    days.turnover_inr,
    days.trades,
    -- More delivered than traded is a fault of the file, and listed as one
    case
        when days.delivery_shares <= days.volume_shares
            then days.delivery_shares / nullif(days.volume_shares, 0)::float8
    end as delivery_share,
    days.vwap_inr,
    rolled.return_1d,
    rolled.return_5d,
    rolled.return_20d,
    rolled.volatility_20d,
    {% for length in close_lengths %}
        rolled.sma_{{ length }}_base / rolled.share_factor as sma_{{ length }}_inr,
    {% endfor %}
    case when days.sessions >= 12 then rolled.ema_12 / rolled.share_factor end as ema_12_inr,
    case when days.sessions >= 26 then rolled.ema_26 / rolled.share_factor end as ema_26_inr,
    case when days.sessions >= 50 then rolled.ema_50 / rolled.share_factor end as ema_50_inr,
    case
        when days.sessions < 14 then null
        when rolled.mean_loss = 0 then 100
        else 100 - 100 / (1 + rolled.mean_gain / rolled.mean_loss)
    end as rsi_14,
    case when days.sessions >= 26 then (rolled.ema_12 - rolled.ema_26) / rolled.share_factor end as macd_inr,
    case when days.sessions >= 34 then rolled.macd_signal / rolled.share_factor end as macd_signal_inr,
    case
        when days.sessions >= 34 then (rolled.ema_12 - rolled.ema_26 - rolled.macd_signal) / rolled.share_factor
    end as macd_histogram_inr,
    rolled.stochastic_k_14,
    rolled.stochastic_d_3,
    (rolled.sma_20_base + 2 * rolled.deviation_20_base) / rolled.share_factor as bollinger_upper_20_inr,
    (rolled.sma_20_base - 2 * rolled.deviation_20_base) / rolled.share_factor as bollinger_lower_20_inr,
    case when days.sessions >= 14 then rolled.atr_14 / rolled.share_factor end as atr_14_inr,
    rolled.obv * rolled.share_factor as obv_shares,
    {% for length in volume_lengths %}
        rolled.volume_sma_{{ length }}_base * rolled.share_factor as volume_sma_{{ length }}_shares,
    {% endfor %}
    market.return_1d as market_return_1d,
    market.return_5d as market_return_5d,
    case when rolled.is_labelled then rolled.label_base / rolled.close_base - 1 end as return_next_5d,
    case when rolled.is_labelled then rolled.label_base > rolled.close_base end as is_up_next_5d,
    case when rolled.is_labelled then rolled.label_day end as label_day
from rolled
inner join {{ ref("equities__instrument_days") }} as days using (instrument, sessions)
inner join market on rolled.day = market.day
where rolled.day >= date '{{ var("start_day") }}'
