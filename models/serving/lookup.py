"""Looks up the features of entities in the warehouse, for the prediction service."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from queue import Empty, LifoQueue
from typing import Any

import psycopg2
from psycopg2 import sql

from models.serving.card import ServingCard
from pipelines.errors import DatabaseError, NotFoundError

# As many requests as are worked on at a time; each needs one connection at most.
CONCURRENCY = 4

_CONNECT: dict[str, Any] = {"connect_timeout": 3, "options": "-c statement_timeout=5000 -c timezone=UTC"}

Wanted = tuple[Any, date | None]


class FeatureStore:
    """The feature table of one card.

    Keeps its own few connections because `psycopg2.pool` opens its minimum at once (the service must start
    without a warehouse) and closes whatever is returned above that minimum.
    """

    def __init__(self, card: ServingCard, database_url: Callable[[], str]) -> None:
        self._card = card
        self._database_url = database_url
        self._idle: LifoQueue[Any] = LifoQueue()
        self._columns = list(dict.fromkeys([card.entity, card.day, *card.feature_names]))
        self._required = [feature.name for feature in card.features if not feature.nullable]
        self._newest, self._span = _statements(card, self._columns, self._required)

    def lookup(self, wanted: Sequence[Wanted]) -> list[dict[str, Any]]:
        """Entity, day and features of each (entity, day or None for its newest), in order, in one query.

        The newest day is the newest whose required features are known.

        Raises:
            NotFoundError: the table has no such entity, has not that day of it, or not its required features.
            DatabaseError: the warehouse cannot be reached or refuses the query.
        """
        entities, days = [entity for entity, _ in wanted], [day for _, day in wanted]
        found = self._query(self._newest, (entities, days))
        for index, values in enumerate(found):
            if values[0] is None:
                raise self._absent(*wanted[index])
        rows = [dict(zip(self._columns, values, strict=True)) for values in found]
        for row in rows:
            self._refuse_incomplete(row)
        return rows

    def _refuse_incomplete(self, row: dict[str, Any]) -> None:
        card = self._card
        if missing := [name for name in self._required if row[name] is None]:
            raise NotFoundError(
                f"There is no prediction for {card.entity} {row[card.entity]!r} on {row[card.day]}: "
                f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not known for that day."
            )

    def close(self) -> None:
        """Closes the idle connections."""
        while not self._idle.empty():
            self._idle.get_nowait().close()

    def _absent(self, entity: Any, day: date | None) -> NotFoundError:
        card = self._card
        ((first, last),) = self._query(self._span, (entity,))
        if first is None:
            return NotFoundError(f"There is no {card.entity} {entity!r} in {card.feature_table}.")
        if day is None:
            return NotFoundError(f"{card.entity} {entity!r} has no day whose {', '.join(self._required)} are known.")
        return NotFoundError(
            f"There is no {card.day} {day} of {card.entity} {entity!r} in {card.feature_table}; "
            f"it has {first} to {last}."
        )

    def _query(self, statement: sql.Composed, parameters: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        while True:
            connection, is_fresh = self._take()
            try:
                with connection.cursor() as cursor:
                    cursor.execute(statement, parameters)
                    rows: list[tuple[Any, ...]] = cursor.fetchall()
            except psycopg2.Error as error:
                connection.close()
                # An idle connection may have outlived a restart of Postgres, so the next one is tried.
                if is_fresh or not isinstance(error, psycopg2.OperationalError | psycopg2.InterfaceError):
                    raise DatabaseError(f"The warehouse refused the look-up of features: {_brief(error)}") from error
            else:
                self._idle.put(connection)
                return rows

    def _take(self) -> tuple[Any, bool]:
        try:
            return self._idle.get_nowait(), False
        except Empty:
            pass
        try:
            connection = psycopg2.connect(self._database_url(), **_CONNECT)
        except psycopg2.Error as error:
            raise DatabaseError(f"The warehouse cannot be reached: {_brief(error)}") from error
        connection.set_session(readonly=True, autocommit=True)
        return connection, True


def _brief(error: psycopg2.Error) -> str:
    return str(error).strip().partition("\n")[0].rstrip(".") + "."


def _statements(card: ServingCard, columns: list[str], required: list[str]) -> tuple[sql.Composed, sql.Composed]:
    names = {
        "columns": sql.SQL(", ").join(sql.Identifier("features", column) for column in columns),
        "table": sql.Identifier(*card.feature_table.split(".")),
        "entity": sql.Identifier(card.entity),
        "day": sql.Identifier(card.day),
        "complete": sql.SQL(" AND ").join(sql.SQL("kept.{} IS NOT NULL").format(sql.Identifier(n)) for n in required)
        if required
        else sql.SQL("true"),
        "type": sql.SQL({"string": "text", "int": "bigint"}[card.entity_type]),
    }
    # The range of days is what lets one index of (entity, day) answer both for a day and for the newest.
    newest = sql.SQL(
        "SELECT {columns} FROM unnest(%s::{type}[], %s::date[]) WITH ORDINALITY AS wanted(entity, day, position) "
        "LEFT JOIN LATERAL (SELECT * FROM {table} AS kept WHERE kept.{entity} = wanted.entity AND kept.{day} "
        "BETWEEN coalesce(wanted.day, '-infinity') AND coalesce(wanted.day, 'infinity') "
        "AND (wanted.day IS NOT NULL OR ({complete})) "
        "ORDER BY kept.{day} DESC LIMIT 1) AS features ON true ORDER BY wanted.position"
    ).format(**names)
    span = sql.SQL("SELECT min({day}), max({day}) FROM {table} WHERE {entity} = %s").format(**names)
    return newest, span
