"""Predictions of the batch, by entity and of all; what came of them; and columns of the features beside them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import Any

from headwater_ui.warehouse import Row, Warehouse
from pipelines.spec import UseCase
from pipelines.window import Window

MOST_ROWS = 2_000
"""Of all entities, the newest so many forecasts make a picture."""
SHOWN_ENTITIES = 200
"""Names that the field for an entity suggests."""
_BATCH = "serving.predictions_batch where use_case = %(slug)s and channel = 'batch'"
_FIRST = """model_version = (
    select to_version from ops.promotions
    where use_case = %(slug)s and alias = 'champion' and to_version is not null and bento is not null
    order by promotion_id desc limit 1) desc nulls last, model_version desc"""
"""Of several versions' forecasts the champion's comes first, then that of the newest: after a rollback the highest
version is the one that was withdrawn."""


def newest_day(warehouse: Warehouse, use_case: UseCase) -> date | None:
    """The day of the newest forecasts; None before there are any."""
    found: date | None = warehouse.row(f"select max(day) as day from {_BATCH}", {"slug": use_case.slug}).get("day")
    return found


def of_entity(warehouse: Warehouse, use_case: UseCase, entity: str, window: Window) -> list[Row]:
    """A row a day, of the champion where it has forecast it: day, model_version, outputs, actual."""
    return warehouse.rows(
        f"""select distinct on (day) day, model_version, outputs, actual from {_BATCH}
              and entity = %(entity)s and day between %(start)s and %(end)s
            order by day, {_FIRST}""",
        {"slug": use_case.slug, "entity": entity, "start": window.start, "end": window.end},
    )


def columns_of_entity(
    warehouse: Warehouse, use_case: UseCase, entity: str, window: Window, columns: Iterable[str]
) -> list[Row]:
    """Columns of an entity's features, with their `day`."""
    names = ", ".join(dict.fromkeys([f"{use_case.day_column} as day", *columns]))
    key: Any = int(entity) if use_case.entity_type == "int" and entity.isdecimal() else entity
    return warehouse.rows(
        f"select {names} from {use_case.feature_table} where {use_case.entity} = %(entity)s"
        f" and {use_case.day_column} between %(start)s and %(end)s order by 1",
        {"entity": key, "start": window.start, "end": window.end},
    )


def of_all(warehouse: Warehouse, use_case: UseCase, window: Window, only_known: bool) -> list[Row]:
    """The newest forecasts of the days, whose outcome is known if that is asked, one an entity and day: entity, day,
    outputs, actual."""
    known = "and actual is not null" if only_known else ""
    return warehouse.rows(
        f"""select distinct on (day, entity) entity, day, outputs, actual
            from {_BATCH} and day between %(start)s and %(end)s {known}
            order by day desc, entity, {_FIRST} limit {MOST_ROWS}""",
        {"slug": use_case.slug, "start": window.start, "end": window.end},
    )


def highest(warehouse: Warehouse, use_case: UseCase, day: date, value: str, rows: int) -> list[Row]:
    """The entities with the highest value of a day: entity, model_version, outputs, actual."""
    return warehouse.rows(
        f"""select * from (
                select distinct on (entity) entity, model_version, outputs, actual from {_BATCH} and day = %(day)s
                order by entity, {_FIRST}) as chosen
            order by (outputs ->> %(value)s)::double precision desc nulls last, entity limit %(rows)s""",
        {"slug": use_case.slug, "day": day, "value": value, "rows": rows},
    )


def entities(warehouse: Warehouse, use_case: UseCase, day: date) -> list[str]:
    """Some names of entities that have a forecast of a day."""
    sql = f"select distinct entity from {_BATCH} and day = %(day)s order by 1 limit {SHOWN_ENTITIES}"
    return [row["entity"] for row in warehouse.rows(sql, {"slug": use_case.slug, "day": day})]
