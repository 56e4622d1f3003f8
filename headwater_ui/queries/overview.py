"""All use cases at a glance: one statement a column of the table, each over all of them."""

from __future__ import annotations

from headwater_ui.warehouse import Row, Warehouse

QUALITY_DAYS = 30
SCORED_DAYS = 366
"""How old a newest score may be: what is published by the month, months later, is scored by days long past."""
COST_DAYS = 7

_TRANSFORMS = """
select slug as use_case, newest.* from unnest(%(slugs)s) as slug cross join lateral (
    select window_start, window_end, at from ops.ledger
    where use_case = slug and step = 'transform' and state = 'loaded'
    order by window_end desc, ledger_id desc limit 1) as newest"""
_FAILURES = """
select distinct on (use_case) use_case, at, dataset, step, window_end, detail ->> 'error' as error
from ops.ledger as failed
where use_case = any(%(slugs)s) and at > now() - interval '30 days' and state = 'failed'
  and not exists (select from ops.ledger as later
                  where later.use_case = failed.use_case and later.step = failed.step
                    and later.dataset = failed.dataset and later.state <> 'failed'
                    and later.ledger_id > failed.ledger_id)
order by use_case, ledger_id desc"""
_CHAMPIONS = """
select distinct on (use_case) use_case, to_version as version, at, actor from ops.promotions
where use_case = any(%(slugs)s) and alias = 'champion' and to_version is not null and bento is not null
order by use_case, promotion_id desc"""
_DRIFT = """
select slug as use_case, newest.* from unnest(%(slugs)s) as slug cross join lateral (
    select window_end, share,
           case when verdict = 'calm' and p_value is null then 'not judged' else verdict end as verdict
    from ops.drift_windows
    where use_case = slug order by window_end desc, made_at desc limit 1) as newest"""
_INCIDENTS = """
select use_case, count(*) as open, (array_agg(cause order by opened_at desc))[1] as cause,
       count(*) filter (where asked_at is not null and answer is null) as waiting
from ops.incidents where use_case = any(%(slugs)s) and ended_at is null group by 1"""
# Of services, Postgres and the disk the key names no use case
_ALERTS = """
select case when starts_with(key, 'health ') then 'platform'
            else split_part(split_part(key, ' ', 2), '__', 1) end as use_case, count(*) as open,
       array_agg(title order by array_position(array['critical', 'warning', 'info'], severity), opened_at desc)
           as titles
from ops.alerts where ended_at is null group by 1"""
_PLATFORM = """
select key, title, body, severity, opened_at from ops.alerts
where ended_at is null and (starts_with(key, 'health ') or starts_with(key, 'run platform__'))
order by array_position(array['critical', 'warning', 'info'], severity), opened_at desc"""
_SCORES = """
select use_case, count(*) filter (where not passed) as failed, count(*) as scores, min(score) as least, max(day) as day
from (select distinct on (use_case, dataset, dimension) use_case, day, score, passed
      from ops.quality where use_case = any(%(slugs)s) and day > now()::date - %(scored)s
      order by use_case, dataset, dimension, day desc) as newest group by 1"""
_QUALITY = """
select use_case, sum(received) as received, sum(quarantined) as quarantined from ops.ledger
where use_case = any(%(slugs)s) and step = 'check' and at > now() - make_interval(days => %(quality)s) group by 1"""
_COST = """
select split_part(dag_id, '__', 1) as use_case, sum(cpu_seconds) as cpu_seconds,
       sum(peak_memory_mb * seconds) as memory_mb_seconds,
       sum(coalesce(read_bytes, 0) + coalesce(written_bytes, 0)) as bytes
from ops.task_costs where started_at > now() - make_interval(days => %(cost)s) group by 1"""
PARTS = {
    "transform": _TRANSFORMS,
    "failure": _FAILURES,
    "champion": _CHAMPIONS,
    "drift": _DRIFT,
    "incidents": _INCIDENTS,
    "alerts": _ALERTS,
    "scores": _SCORES,
    "quality": _QUALITY,
    "cost": _COST,
}


def by_use_case(warehouse: Warehouse, slugs: list[str]) -> dict[str, dict[str, Row]]:
    """Of each use case the newest of each part; empty where there is none yet. Alerts are by severity, then the newest
    first; those of the platform are its own, as if `platform` were a use case.
    """
    parameters = {"slugs": slugs, "quality": QUALITY_DAYS, "scored": SCORED_DAYS, "cost": COST_DAYS}
    found: dict[str, dict[str, Row]] = {slug: {part: {} for part in PARTS} for slug in slugs}
    for part, sql in PARTS.items():
        for row in warehouse.rows(sql, parameters):
            if row["use_case"] in found:
                found[row["use_case"]][part] = row
    return found


def of_platform(warehouse: Warehouse) -> list[Row]:
    """The open alerts of services, Postgres and the disk, and of the DAGs that look after them, the worst first: key,
    title, body, severity, opened_at.
    """
    return warehouse.rows(_PLATFORM)
