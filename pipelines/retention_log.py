"""The request log as retention sees it: the partitions of a use case's served predictions, each of one day."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from datetime import date, datetime

import polars as pl

from pipelines import database
from pipelines.archive import Kept, keep_rows
from pipelines.errors import StorageError
from pipelines.retention_layers import Item
from pipelines.spec import UseCase
from pipelines.storage import Store
from pipelines.window import Window

_PARTITIONS = """
select relname as name, pg_total_relation_size(oid)::bigint as bytes from pg_class
where oid in (select inhrelid from pg_inherits where inhparent = to_regclass(%s)) order by relname"""
_ROWS_AT_ONCE = 200_000


class RequestLogLayer:
    """Whole days of the request log, before the cut-off; dropping a partition rewrites nothing."""

    name = "request_log"

    def __init__(self, url: str, use_case: UseCase, cutoff: date) -> None:
        self.url, self.use_case, self.cutoff = url, use_case, cutoff

    @property
    def branch(self) -> str:
        """The table that the partitions are of."""
        return f"predictions_served_{self.use_case.slug}"

    def held(self) -> AbstractContextManager[None]:
        """Nobody: what comes late, for a day that is gone, makes its partition anew."""
        return nullcontext()

    def items(self) -> list[Item]:
        """The days before the cut-off."""
        return [
            self._item(row["name"], row["bytes"])
            for row in database.query(self.url, _PARTITIONS, (f"serving.{self.branch}",))
            if _day(row["name"]) < self.cutoff
        ]

    def _item(self, table: str, size: int) -> Item:
        day = _day(table)
        rows = database.query(self.url, f"select count(*) as rows from serving.{table}")[0]["rows"]
        return Item(self.name, self.name, f"day={day}", Window(day, day), 0, rows, size)

    def keep(self, item: Item, archive: Store) -> Iterator[Kept]:
        """All columns of the day's rows, in the order in which they were answered; JSON as text."""
        statement = f"""select prediction_id::text, request_id, use_case, channel, entity, day, model_version, arm,
            inputs::text, outputs::text, actual, predicted_at, latency_ms, features_at from serving.{self._table(item)}
            order by predicted_at, prediction_id"""
        for rows in database.read_batches(self.url, statement, _ROWS_AT_ONCE):
            part: pl.DataFrame = rows
            yield keep_rows(part, archive, f"{self.name}/{self.use_case.slug}/{item.part}")

    def delete(self, items: list[Item]) -> None:
        """Drops the partitions in one transaction; none if a row came to one of them meanwhile."""
        with database.connect(self.url) as connection, connection.cursor() as cursor:
            cursor.execute("set local lock_timeout = '5s'")  # behind whoever waits for it, all readers would
            for item in items:
                table = f"serving.{self._table(item)}"
                cursor.execute(f"lock table {table} in access exclusive mode")
                cursor.execute(f"select count(*) from {table}")
                (rows,) = cursor.fetchone()
                if rows != item.rows:
                    raise StorageError(
                        f"{table} has {rows} rows, and {item.rows} were archived; nothing of it was deleted. Run the "
                        "same command again."
                    )
                cursor.execute(f"drop table {table}")

    def _table(self, item: Item) -> str:
        return f"{self.branch}_{item.days.start:%Y%m%d}"


def _day(table: str) -> date:
    return datetime.strptime(table[-8:], "%Y%m%d").date()  # noqa: DTZ007 - a day has no zone
