"""What came of an experiment: traffic, errors and latency of both arms, and, as labels mature, their metrics.

A shadow saw the same requests as the champion, so both are measured on the same rows, drawn together. In a split the
arms have other entities, dealt by chance: each arm is drawn by itself, an entity with all of its rows.
"""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any

import pandas as pd

from models import bootstrap, evaluate
from models.bootstrap import Draws
from models.evaluate import plain
from models.snapshot import to_pandas
from pipelines import database, registry
from pipelines.errors import NotFoundError
from pipelines.settings import Settings
from pipelines.spec import UseCase

ARMS = ("champion", "challenger")
_TRAFFIC = """
select arm, count(*) as rows, count(distinct coalesce(entity, md5(inputs::text))) as entities,
       count(*) filter (where outputs ? 'error') as errors, array_agg(distinct model_version) as versions,
       percentile_cont(0.5) within group (order by latency_ms) as latency_p50_ms,
       percentile_cont(0.99) within group (order by latency_ms) as latency_p99_ms
from serving.predictions where {within} group by arm"""
_WITHIN = """
use_case = %(use_case)s and predicted_at >= %(since)s and predicted_at < %(until)s
and (arm = 'champion' and channel = 'online'
     or arm = 'challenger' and channel = %(channel)s and model_version = %(version)s)"""
_FIRST = """
select min(predicted_at) as at from serving.predictions where use_case = %(use_case)s and arm = 'challenger'
and channel = %(channel)s and model_version = %(version)s and predicted_at >= %(since)s and predicted_at < %(until)s"""
_ARM_ROWS = """
select logged.outputs::text as logged_outputs, features.*
from serving.predictions as logged join {table} as features
  on features.{entity}::text = logged.entity and features.{day} = logged.day
where {within} and arm = '{arm}' and not logged.outputs ? 'error' and features.{target} is not null
order by md5(prediction_id::text) limit {most}"""
_PAIRS = """
with logged as (
    select channel, request_id, entity, day, outputs, prediction_id,
           row_number() over (partition by channel, request_id, entity, day order by prediction_id) as place
    from serving.predictions where {within})
select first.outputs::text as champion_outputs, second.outputs::text as challenger_outputs, features.*
from logged as first
join logged as second using (request_id, entity, day, place)
join {table} as features on features.{entity}::text = first.entity and features.{day} = first.day
where first.channel = 'online' and second.channel = 'shadow' and not first.outputs ? 'error'
  and not second.outputs ? 'error' and features.{target} is not null
order by md5(first.prediction_id::text) limit {most}"""

Side = tuple[pd.DataFrame, pd.DataFrame]
"""Rows of the feature table, and the answers to them."""


def report(use_case: UseCase, settings: Settings) -> dict[str, Any]:
    """The newest experiment of a use case, running or stopped, as plain values.

    Returns:
        `mode`, `version`, `share`, `since`, `until` (None while it runs), `actor`, `reason`; `given`, the share of
        rows and of entities that the challenger answered since it was last changed, from its first one on; `arms`, each
        with `rows`, `entities`, `errors`, `versions`, latency; and where labels have come in, `labelled` (rows that are
        measured), `metrics`, `intervals` and `differences` (challenger less champion) at the spec's `level`, `drawn_by`
        day or entity.

    Raises:
        NotFoundError: there has never been one.
    """
    url = settings.require_database()
    database.ensure_ops(url)
    found = _newest(url, use_case)
    parameters = {
        "use_case": use_case.slug,
        "version": found["version"],
        "channel": "shadow" if found["mode"] == "shadow" else "online",
        "since": found["since"],
        "until": found["until"] or datetime.now(UTC),
    }
    measured = (_paired if found["mode"] == "shadow" else _split)(url, use_case, parameters)
    told = {name: str(value) if isinstance(value, datetime) else value for name, value in found.items()}
    return {
        "use_case": use_case.slug,
        **told,
        "given": _given(url, found["mode"], parameters | {"since": found["changed"]}),
        "arms": _traffic(url, parameters),
        "level": use_case.intervals.level,
        **measured,
    }


def _newest(url: str, use_case: UseCase) -> dict[str, Any]:
    """The rows of the newest experiment, as one: from where it started to where it was stopped or replaced."""
    rows = database.query(
        url,
        "select at, mode, version, share, stopped, actor, reason from serving.experiments where use_case = %s"
        " order by experiment_id",
        (use_case.slug,),
    )
    if not rows:
        raise NotFoundError(
            f"{use_case.slug} has had no experiment; start one: headwater experiments start {use_case.slug} "
            "--version N --shadow."
        )
    until = rows.pop()["at"] if rows[-1]["stopped"] else None
    newest = first = rows.pop()
    while rows and not rows[-1]["stopped"] and all(rows[-1][name] == newest[name] for name in ("mode", "version")):
        first = rows.pop()
    return {
        **{name: newest[name] for name in ("mode", "version", "share", "actor", "reason")},
        "since": first["at"],
        "changed": newest["at"],
        "until": until,
    }


def _traffic(url: str, parameters: dict[str, Any], within: str = _WITHIN) -> dict[str, dict[str, Any]]:
    found = database.query(url, _TRAFFIC.format(within=within), parameters)
    return {row.pop("arm"): row for row in sorted(found, key=lambda row: ARMS.index(row["arm"]))}


def _given(url: str, mode: str, parameters: dict[str, Any]) -> dict[str, float | None]:
    """The challenger's part of what was answered of a split, rows and entities; of a shadow, how much of the traffic it
    has answered. Where it failed, nobody was given its answer.
    """
    (first,) = database.query(url, _FIRST, parameters)
    nothing: dict[str, Any] = {"rows": 0, "entities": 0}
    since = parameters | {"since": first["at"]}
    told = _traffic(url, since, f"{_WITHIN} and not outputs ? 'error'") if first["at"] is not None else {}
    champion, challenger = (told.get(arm, nothing) for arm in ARMS)
    given: dict[str, float | None] = {}
    for name in ("rows", "entities"):
        of = champion[name] + (challenger[name] if mode == "split" else 0)
        given[name] = challenger[name] / of if of else None
    return given


def _statement(use_case: UseCase, template: str, arm: str = "") -> str:
    return template.format(
        within=_WITHIN, table=use_case.feature_table, entity=use_case.entity, day=use_case.day_column,
        target=use_case.target, most=bootstrap.MOST_ROWS, arm=arm,
    )  # fmt: skip


def _read(url: str, statement: str, parameters: dict[str, Any]) -> pd.DataFrame:
    """As training reads rows, with the types of the feature table."""
    with database.connect(url) as connection, connection.cursor() as cursor:
        sql = cursor.mogrify(statement, parameters).decode()
    return to_pandas(database.read_frame(url, sql))


def _forecast(use_case: UseCase, told: pd.Series) -> pd.DataFrame:
    answers = pd.DataFrame([json.loads(one) for one in told], index=told.index)
    names = [*registry.part(use_case, "model").OUTPUTS, *registry.texts(use_case)]
    return answers.reindex(columns=names)


def _usable(use_case: UseCase, frame: pd.DataFrame, *forecasts: pd.DataFrame) -> pd.Series:
    """The rows that can be measured: their label is known, and every arm has an answer."""
    usable: pd.Series = registry.part(use_case, "model").usable(frame)
    for forecast in forecasts:
        usable = usable & forecast[list(registry.part(use_case, "model").OUTPUTS)].notna().all(axis=1)
    return usable


def _by_entity(use_case: UseCase) -> UseCase:
    return replace(use_case, intervals=replace(use_case.intervals, by="entity"))


def _paired(url: str, use_case: UseCase, parameters: dict[str, Any]) -> dict[str, Any]:
    """Both arms on the requests that both have answered."""
    frame = _read(url, _statement(use_case, _PAIRS), parameters)
    forecasts = {arm: _forecast(use_case, frame.pop(f"{arm}_outputs")) for arm in ARMS}
    if frame.empty:
        return _measured(use_case, {}, {})
    usable = _usable(use_case, frame, *forecasts.values())
    sides = {arm: (frame[usable], forecast[usable]) for arm, forecast in forecasts.items()}
    together = {arm: forecast for arm, (_, forecast) in sides.items()}
    draws = bootstrap.draw(use_case, frame[usable], together)
    if use_case.intervals.by == "entity" or not draws["champion"].empty:
        return _measured(use_case, sides, draws, use_case.intervals.by)
    # An experiment of weeks has too few of the blocks that years of a hold-out are cut into
    return _measured(use_case, sides, bootstrap.draw(_by_entity(use_case), frame[usable], together))


def _split(url: str, use_case: UseCase, parameters: dict[str, Any]) -> dict[str, Any]:
    """Each arm on its own entities."""
    sides: dict[str, Side] = {}
    draws: dict[str, Draws] = {}
    for seed, arm in enumerate(ARMS):
        frame = _read(url, _statement(use_case, _ARM_ROWS, arm), parameters)
        forecast = _forecast(use_case, frame.pop("logged_outputs"))
        if frame.empty:
            continue
        usable = _usable(use_case, frame, forecast)
        sides[arm] = frame[usable], forecast[usable]
        # Another seed for each: the arms are two samples, and their draws must not go together
        draws |= bootstrap.draw(_by_entity(use_case), frame[usable], {arm: forecast[usable]}, seed)
    return _measured(use_case, sides, draws)


def _measured(
    use_case: UseCase, sides: dict[str, Side], draws: dict[str, Draws], drawn_by: str = "entity"
) -> dict[str, Any]:
    level = use_case.intervals.level
    metrics = {arm: evaluate.overall(use_case, *side) for arm, side in sides.items() if len(side[0])}
    apart: dict[str, Any] = {}
    if len(metrics) == len(ARMS):
        champion, challenger = (metrics[arm] for arm in ARMS)
        for name in challenger.keys() - {"rows"}:
            interval = bootstrap.difference(draws["challenger"], draws["champion"], name, level)
            apart[name] = {"difference": challenger[name] - champion[name], **asdict(interval)}
    return {
        "labelled": {arm: len(side[0]) for arm, side in sides.items()},
        "drawn_by": drawn_by,
        "metrics": plain(metrics),
        "intervals": {
            arm: {name: plain(asdict(one)) for name, one in bootstrap.intervals(draws[arm], level).items()}
            for arm in metrics
        },
        "differences": {name: plain(apart[name]) for name in sorted(apart)},
    }
