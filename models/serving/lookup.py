"""Looks up the features of entities in the warehouse; requests that come at once are looked up in one statement."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator, Sequence
from datetime import date
from typing import Any, NamedTuple

from models.serving.card import ServingCard
from models.serving.limits import LOOKED_UP_AT_ONCE
from models.serving.pool import Pool
from pipelines.errors import NotFoundError

LANES = 2
"""Statements of one feature table under way at once; what comes meanwhile waits, and is joined to the next one."""

Wanted = tuple[Any, date | None]
_Asked = tuple[Sequence[Wanted], asyncio.Future[list[tuple[Any, ...]]]]


class Found(NamedTuple):
    """The features of an entity on a day, all of the card's in its order."""

    entity: Any
    day: date
    row: dict[str, Any]


class FeatureStore:
    """The feature table of one card."""

    def __init__(self, card: ServingCard, pool: Pool) -> None:
        self._card = card
        self._pool = pool
        self._names = card.feature_names
        self._required = [feature.name for feature in card.features if not feature.nullable]
        self._newest, self._span = _statements(card, self._required)
        self._name = f"lookup_{hashlib.sha256(self._newest.encode()).hexdigest()[:16]}"
        self._type = {"string": "text", "int": "bigint"}[card.entity_type]
        self._waiting: list[_Asked] = []
        self._lanes: set[asyncio.Task[None]] = set()
        self._busy = 0

    async def lookup(self, wanted: Sequence[Wanted]) -> list[Found]:
        """The features of each (entity, day or None for its newest), in order.

        The newest day is the newest whose required features are known.

        Raises:
            NotFoundError: the table has no such entity, has not that day of it, or not its required features.
            DatabaseError: the warehouse cannot be reached or refuses the query.
        """
        found: list[Found] = []
        for part in _parts(wanted):
            rows = await self._looked_up(part)
            for values, asked in zip(rows, part, strict=True):
                if values[0] is None:
                    raise await self._absent(*asked)
            found += [self._complete(values) for values in rows]
        return found

    async def lookup_known(self, wanted: Sequence[Wanted]) -> list[Found | None]:
        """As `lookup`, with None for each whose features are not there.

        Raises:
            DatabaseError: as in `lookup`.
        """
        found: list[Found | None] = []
        for part in _parts(wanted):
            rows = [self._found(values) for values in await self._looked_up(part)]
            found += [None if one.entity is None or self._missing(one) else one for one in rows]
        return found

    async def _looked_up(self, wanted: Sequence[Wanted]) -> list[tuple[Any, ...]]:
        """Entity, day and features of each; all of them None where there are none."""
        future: asyncio.Future[list[tuple[Any, ...]]] = asyncio.get_running_loop().create_future()
        self._waiting.append((wanted, future))
        # Counted by the lanes themselves: `discard` comes a turn of the loop after a lane has seen that nobody waits
        if self._busy < LANES:
            self._busy += 1
            lane = asyncio.create_task(self._drain())
            self._lanes.add(lane)
            lane.add_done_callback(self._lanes.discard)
        return await future

    async def _drain(self) -> None:
        try:
            while self._waiting:
                await self._answer(self._taken())
        finally:
            self._busy -= 1

    def _taken(self) -> list[_Asked]:
        self._waiting = [asked for asked in self._waiting if not asked[1].done()]
        count, taken = 0, 0
        for wanted, _ in self._waiting:
            if taken and count + len(wanted) > LOOKED_UP_AT_ONCE:
                break
            count, taken = count + len(wanted), taken + 1
        batch, self._waiting = self._waiting[:taken], self._waiting[taken:]
        return batch

    async def _answer(self, batch: Sequence[_Asked]) -> None:
        if not batch:
            return
        try:
            rows = await self._query([one for wanted, _ in batch for one in wanted])
        except Exception as error:  # noqa: BLE001 - it is whoever asked who is told
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
            return
        at = 0
        for wanted, future in batch:
            if not future.done():
                future.set_result(rows[at : at + len(wanted)])
            at += len(wanted)

    async def _query(self, asked: Sequence[Wanted]) -> list[tuple[Any, ...]]:
        lists = ([entity for entity, _ in asked], [day for _, day in asked])
        return await self._pool.query(self._name, (f"{self._type}[]", "date[]"), self._newest, lists)

    def _complete(self, values: tuple[Any, ...]) -> Found:
        found = self._found(values)
        if missing := self._missing(found):
            raise NotFoundError(
                f"There is no prediction for {self._card.entity} {found.entity!r} on {found.day}: "
                f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not known for that day."
            )
        return found

    def _found(self, values: tuple[Any, ...]) -> Found:
        entity, day, *features = values
        return Found(entity, day, dict(zip(self._names, features, strict=True)))

    def _missing(self, found: Found) -> list[str]:
        return [name for name in self._required if found.row[name] is None]

    async def _absent(self, entity: Any, day: date | None) -> NotFoundError:
        card = self._card
        ((first, last),) = await self._pool.query(f"{self._name}_span", (self._type,), self._span, (entity,))
        if first is None:
            return NotFoundError(f"There is no {card.entity} {entity!r} in {card.feature_table}.")
        if day is None:
            return NotFoundError(f"{card.entity} {entity!r} has no day whose {', '.join(self._required)} are known.")
        return NotFoundError(
            f"There is no {card.day} {day} of {card.entity} {entity!r} in {card.feature_table}; "
            f"it has {first} to {last}."
        )


def _parts(wanted: Sequence[Wanted]) -> Iterator[Sequence[Wanted]]:
    """Slices for one statement each: between two of them the event loop, and the statements of others, go on."""
    return (wanted[at : at + LOOKED_UP_AT_ONCE] for at in range(0, len(wanted), LOOKED_UP_AT_ONCE))


def _statements(card: ServingCard, required: list[str]) -> tuple[str, str]:
    """Names of cards are of lower-case letters, digits and underscores, so that they need only be quoted."""
    columns = ", ".join(f'features."{name}"' for name in (card.entity, card.day, *card.feature_names))
    complete = " AND ".join(f'kept."{name}" IS NOT NULL' for name in required) or "true"
    table = ".".join(f'"{part}"' for part in card.feature_table.split("."))
    # The range of days is what lets one index of (entity, day) answer both for a day and for the newest
    newest = (
        f"SELECT {columns} FROM unnest($1, $2) WITH ORDINALITY AS wanted(entity, day, position) "
        f'LEFT JOIN LATERAL (SELECT * FROM {table} AS kept WHERE kept."{card.entity}" = wanted.entity '
        f"AND kept.\"{card.day}\" BETWEEN coalesce(wanted.day, '-infinity') AND coalesce(wanted.day, 'infinity') "
        f"AND (wanted.day IS NOT NULL OR ({complete})) "
        f'ORDER BY kept."{card.day}" DESC LIMIT 1) AS features ON true ORDER BY wanted.position'
    )
    return newest, f'SELECT min("{card.day}"), max("{card.day}") FROM {table} WHERE "{card.entity}" = $1'
