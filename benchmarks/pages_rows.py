"""What a year of windows leaves in the warehouse, as the pages read it: made in Postgres itself."""

from __future__ import annotations

import json
from dataclasses import dataclass

from pipelines import database
from pipelines.registry import use_cases
from pipelines.spec import UseCase

_LEDGER = """
insert into ops.ledger (at, use_case, dataset, step, window_start, window_end, attempt, state, received, accepted,
                        quarantined, inserted, updated, unchanged, bytes, seconds, peak_memory_mb, content_hash, detail)
select day + time '10:00' + step.place * interval '1 second', %(slug)s, dataset, step.name, day, day, 1, 'loaded', 1000,
       990 + extract(day from day)::int %% 10, 10 - extract(day from day)::int %% 10, 980, 10, 0, 100000, 0.4, 180,
       md5(day::text),
       case step.name when 'check' then jsonb_build_object('contract', '1.0', 'days', jsonb_build_array(
                                            jsonb_build_array(day::date::text, day::date::text)))
                      when 'transform' then jsonb_build_object('spans', jsonb_build_array(day::date::text), 'nodes',
                          (select jsonb_agg(jsonb_build_object(
                               'name', 'model_' || n, 'kind', 'model', 'state', 'success', 'seconds', 0.1, 'rows', 100))
                           from generate_series(1, 12) as n))
                      when 'drift' then jsonb_build_object('share', (extract(day from day)::int %% 4) / 10.0,
                                                           'drifted', jsonb_build_array('first', 'second'))
                      else '{}' end
from generate_series(now()::date - %(days)s + 1, now()::date, interval '1 day') as day
cross join unnest(%(datasets)s) as dataset
cross join (values ('fetch', 1), ('check', 2), ('load', 3), ('transform', 4), ('score', 5), ('drift', 6))
           as step (name, place)
where (step.place <= 3) = (dataset not in ('features', 'predictions'))
  and (step.name <> 'score' or dataset = 'predictions') and (step.name = 'score' or dataset <> 'predictions')
order by 1"""
_PREDICTIONS = """
insert into serving.predictions_batch (use_case, channel, entity, day, model_version, outputs, actual)
select %(slug)s, 'batch', case when %(fleeting)s then 't' || to_char(day, 'YYYYMMDD') || '-' || entity
                               else 'e' || entity end, day, 1,
       (select jsonb_object_agg(name, round((random() * %(most)s)::numeric, 4)) from unnest(%(outputs)s) as name
        where entity is not null) || %(texts)s::jsonb,
       case when day < now()::date - 5 then round((random() * %(most)s)::numeric, 0) end
from generate_series(now()::date - %(days)s + 1, now()::date, %(every)s * interval '1 day') as day
cross join generate_series(1, %(entities)s) as entity"""
_COSTS = """
insert into ops.task_costs (task_instance_id, dag_id, run_id, task_id, map_index, try_number, state, started_at,
                            ended_at, seconds, cpu_seconds, peak_memory_mb, read_bytes, written_bytes)
select gen_random_uuid(), %(slug)s || '__ingest', 'scheduled__' || day::date, 'task_' || task, -1, 1, 'success',
       day + time '10:00', day + time '10:01', 60, 30 * random(), 200 + 100 * random(), 1000000, 100000
from generate_series(now()::date - %(days)s + 1, now()::date, interval '1 day') as day
cross join generate_series(1, 16) as task"""
_MOVES = """
insert into ops.promotions (at, use_case, alias, from_version, to_version, bento, actor, reason, evidence)
select now() - (52 - version) * interval '7 days', %(slug)s, alias, nullif(version - 1, 0), version,
       case alias when 'champion' then 'headwater-' || %(slug)s || ':' || version end, 'policy of the spec',
       'gate passed: better than the champion', jsonb_build_object('version', version, 'run_id', md5(version::text))
from generate_series(1, 52) as version cross join (values ('challenger'), ('champion')) as named (alias)
order by version, alias"""
_EVIDENCE = """
insert into ops.evidence (use_case, version, sha256, evidence)
select %(slug)s, version, md5(version::text),
       jsonb_build_object('run_id', md5(version::text), 'bento', 'headwater:' || version, 'model_sha256',
                          md5(version::text), 'champion', version - 1, 'bento_sha256', '', 'reports', '{}'::jsonb)
from generate_series(1, 52) as version"""
_DRIFT = """
insert into ops.drift_windows (use_case, window_start, window_end, model_version, rows, reference_rows,
                               reference_windows, verdict, p_value, promised_rate, false_alarm_rate,
                               false_alarms_a_month, share, said)
select %(slug)s, day - interval '29 days', day, 52, 2000, 2000, 100,
       case when extract(day from day) = 3 then 'drift' else 'calm' end, random(), 0.01, 0.01, 0.3,
       (extract(day from day)::int %% 4) / 10.0, 'as far off as other windows'
from generate_series(now()::date - %(days)s + 1, now()::date, interval '1 day') as day;
insert into ops.drift_columns (use_case, window_start, window_end, model_version, kind, column_name, distance,
                               threshold, p_value, drifted)
select use_case, window_start, window_end, model_version, 'feature', 'feature_' || n, random(), 0.9, random(), n = 1
from ops.drift_windows cross join generate_series(1, 30) as n where use_case = %(slug)s;
insert into ops.incidents (use_case, cause, severity, state, model_version, opened_window, last_window, ended_at)
select %(slug)s, 'feature_' || n, 'medium', case n when 1 then 'open' else 'ended' end, 52, now()::date - n,
       now()::date - n, case when n > 1 then now() end
from generate_series(1, 40) as n"""
_QUALITY = """
insert into ops.quality (use_case, dataset, day, dimension, score, threshold, passed, rows, failed)
select %(slug)s, dataset, day, dimension, 0.9 + random() / 10, 0.9, true, 1000, 10
from generate_series(now()::date - %(days)s + 1, now()::date, interval '1 day') as day
cross join unnest(%(datasets)s) as dataset
cross join unnest(array['completeness', 'validity', 'consistency', 'timeliness']) as dimension"""


@dataclass(frozen=True, slots=True)
class Answers:
    """The forecasts of a use case: so many entities every so many days, each answer a number up to `most`."""

    outputs: tuple[str, ...]
    entities: int
    every: int = 1
    most: float = 1.0
    texts: tuple[str, ...] = ()
    is_fleeting: bool = False
    """Whether entities come and go, as trips do."""


ANSWERS = {
    "flood": Answers(
        ("discharge_m3s", "discharge_p10_m3s", "discharge_p90_m3s", "flood_probability"), entities=25, most=1.0
    ),
    "equities": Answers(("up_probability", "is_up"), entities=500),
    "churn": Answers(("churn_probability", "is_offer_worthwhile"), 5_000, 30, texts=("reason_1", "reason_2")),
    "taxi": Answers(("fare_usd",), 1_000, most=80.0, is_fleeting=True),
}


def fill(url: str, days: int, entities_share: float = 1.0) -> int:
    """Makes the rows of so many days up to today, for every use case that has answers above; gives how many forecasts.

    With `entities_share` below 1 fewer entities, which only tries everything.
    """
    database.ensure_ops(url)
    for slug, answers in ANSWERS.items():
        use_case = use_cases()[slug]
        _fill(url, use_case, answers, days, entities_share)
    database.query(url, "analyze")
    count: int = database.query(url, "select count(*) as n from serving.predictions_batch")[0]["n"]
    return count


def _fill(url: str, use_case: UseCase, answers: Answers, days: int, entities_share: float) -> None:
    datasets = [dataset.name for dataset in use_case.datasets]
    given = {
        "slug": use_case.slug,
        "days": days,
        "datasets": [*datasets, "features", "predictions"],
        "outputs": list(answers.outputs),
        "texts": json.dumps(dict.fromkeys(answers.texts, "a longer contract")),
        "entities": max(int(answers.entities * entities_share), 1),
        "every": answers.every,
        "most": answers.most,
        "fleeting": answers.is_fleeting,
    }
    for sql in (_LEDGER, _PREDICTIONS, _COSTS, _MOVES, _EVIDENCE, _DRIFT, _QUALITY):
        database.query(url, sql, given)
    _features(url, use_case)


def _features(url: str, use_case: UseCase) -> None:
    """A feature table with the columns that the pictures ask for."""
    from pipelines.registry import view

    columns = {name for panel in view(use_case).of_entity for name in (panel.column, panel.threshold) if name}
    listed = "".join(f", random() as {name}" for name in sorted(columns))
    database.query(
        url,
        f"""create schema {use_case.slug};
            create table {use_case.feature_table} as
            select entity as {use_case.entity}, day as {use_case.day_column}{listed} from serving.predictions_batch
            where use_case = '{use_case.slug}';
            create unique index on {use_case.feature_table} ({use_case.entity}, {use_case.day_column})""",
    )
