"""The CRM's database: which tables are asked for what, and how its answers become rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date, datetime, timedelta

import polars as pl

from pipelines import lake
from pipelines.landing import LandedObject, Received
from pipelines.settings import Settings
from pipelines.spec import Dataset
from pipelines.types import polars_schema
from pipelines.upstream_database import SEEN, Database, Table, after, midnight, read
from pipelines.use_cases.churn.spec import CONTRACTS, CUSTOMERS, REMOVALS, USAGE, USE_CASE
from pipelines.window import EVER, Window

OVERLAP_DAYS = CUSTOMERS.correction_days
"""How many days before a window's first are asked for again: rows committed late carry the time of their change."""
BACK = "back"
"""In the context of an answer whose rows had been gone."""


def _named(*columns: str, **others: str) -> dict[str, str]:
    return {**{name: name for name in columns}, **others}


TABLES = {
    CUSTOMERS.name: Table(
        name="crm.customers",
        key="customer_id::text",
        changed="updated_at",
        columns=_named(
            "gender", "is_senior", "has_partner", "has_dependents", "payment_method", "is_paperless", "joined_on",
            "left_on", customer_id="customer_id::text",
        ),
    ),
    CONTRACTS.name: Table(
        name="crm.contracts",
        key="contract_id::text",
        changed="updated_at",
        columns=_named(
            "has_phone", "has_multiple_lines", "internet_service", "has_online_security", "has_online_backup",
            "has_device_protection", "has_tech_support", "has_streaming_tv", "has_streaming_movies", "started_on",
            "ended_on", contract_id="contract_id::text", customer_id="customer_id::text", contract="kind",
        ),
    ),
    USAGE.name: Table(
        name="crm.monthly_usage",
        key="customer_id::text || ' ' || month::text",
        changed="updated_at",
        day="month",
        columns=_named(
            "month", "data_gb", "support_calls", customer_id="customer_id::text", charge_usd="charge::text",
            total_charge_usd="total_charge::text",
        ),
    ),
}  # fmt: skip
"""The tables that are read, by the data set that they become."""


def fetch(dataset: Dataset, reach: Window, settings: Settings) -> Iterator[Received]:
    """What changed in a window (with the days that the data set asks for again) or, of removals, what is gone.

    Where nothing is stored yet, all rows come. Only for the newest window is asked what has changed unmarked, is gone
    or is back: what an earlier one would find belongs to a later day.

    Raises:
        SourceError: the database cannot be reached or refuses, or has lost a large part of its rows.
        ContractError: a table or column is not there any more.
    """
    with Database(USE_CASE.source(dataset.source), settings) as crm:
        if dataset == REMOVALS:
            for name, table in TABLES.items():
                asked = USE_CASE.dataset(name)
                known = _known(asked, reach.widened(before=asked.correction_days), settings)
                if known is not None and (there := known.filter(~pl.col("is_gone"))).height:
                    yield from crm.gone(table, there["key"].to_list(), reach.end)
            return
        table, known = TABLES[dataset.name], _known(dataset, reach, settings)
        if _stored(dataset, settings).is_empty():
            yield crm.every(table, after(reach.end), reach)
            return
        first = reach.start + timedelta(days=dataset.correction_days - OVERLAP_DAYS)
        yield crm.changed(table, midnight(first), after(reach.end))
        if known is not None:
            yield from _found(crm, table, known, midnight(first), reach)


def _found(crm: Database, table: Table, known: pl.DataFrame, before: datetime, reach: Window) -> Iterator[Received]:
    """What no mark tells: rows that changed without one, those that are back with an old one, new ones without any."""
    there, gone = known.filter(~pl.col("is_gone")), known.filter("is_gone")
    seen = {SEEN: str(reach.end)}
    yield from crm.unmarked(table, there, before, reach.end)
    yield from crm.present(table, gone["key"].to_list(), before, seen | {BACK: "yes"})
    new = set(crm.never_marked(table, reach)) - set(known["key"])
    yield from crm.present(table, sorted(new), before, seen)


def _stored(dataset: Dataset, settings: Settings) -> pl.DataFrame:
    """What came from the CRM so far; rows of files have no hash."""
    return lake.read_normalized(settings.lake, USE_CASE, dataset, EVER).filter(pl.col("row_hash").is_not_null())


def _known(dataset: Dataset, reach: Window, settings: Settings) -> pl.DataFrame | None:
    """Each row that the CRM had: its key there, the hash of its newest version, and whether it is gone since.

    None where a later window was stored.
    """
    rows = _stored(dataset, settings)
    day = pl.col("updated_at").dt.date() if dataset == USAGE else pl.col("day")
    if rows.select((day > reach.end).any()).item():
        return None
    if dataset == USAGE:
        # A month is no longer looked at when its bills are settled
        rows = rows.filter(pl.col("month").is_between(reach.start, reach.end))
        key = pl.format("{} {}", "customer_id", pl.col("month").cast(pl.String))
    else:
        key = pl.col(dataset.keys[0])
        rows = rows.sort("day").unique(key, keep="last", maintain_order=True)
    removed = lake.read_normalized(settings.lake, USE_CASE, REMOVALS, EVER)
    removed = (
        removed.filter(pl.col("table_name") == TABLES[dataset.name].name)
        .group_by("row_key")
        .agg(pl.col("day").max().alias("removed_on"))
    )
    found = rows.select(key.alias("key"), "row_hash", day.alias("day")).sort("key")
    found = found.join(removed, left_on="key", right_on="row_key", how="left", maintain_order="left")
    # What came back after it was gone is known again
    is_gone = pl.col("removed_on").is_not_null() & (pl.col("removed_on") >= pl.col("day")).fill_null(True)
    return found.select("key", "row_hash", is_gone.alias("is_gone"))


def parse(dataset: Dataset, answers: Iterable[tuple[LandedObject, bytes]]) -> pl.DataFrame:
    """The rows of the database's answers in the contract's columns.

    Raises:
        ContractError: an answer is not an Arrow stream.
    """
    frames = [_of_day(dataset, item, read(body)) for item, body in answers]
    return pl.concat(frames, how="diagonal_relaxed") if frames else pl.DataFrame(schema=polars_schema(dataset))


def _of_day(dataset: Dataset, item: LandedObject, rows: pl.DataFrame) -> pl.DataFrame:
    """With the day from which a version is known: that of its mark, that on which it was found, or the first of all."""
    seen = item.context.get(SEEN)
    if dataset == USAGE:
        return _marked_anew(rows, date.fromisoformat(seen)) if seen and BACK in item.context else rows
    if seen:
        return rows.with_columns(pl.lit(seen).str.to_date().alias("day"))
    marked = pl.col("updated_at").dt.convert_time_zone("UTC").dt.date()
    if "first" in item.context:
        marked = pl.max_horizontal(marked, pl.lit(item.context["first"]).str.to_date())
    return rows.with_columns(marked.alias("day"))


def _marked_anew(rows: pl.DataFrame, seen: date) -> pl.DataFrame:
    """Bills that came back, marked on the day that they were seen again: a bill has no versions that could say so."""
    mark = pl.lit(midnight(seen)).cast(pl.Datetime("us", "UTC"))
    return rows.with_columns(pl.max_horizontal(pl.col("updated_at").cast(pl.Datetime("us", "UTC")), mark))
