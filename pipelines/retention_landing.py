"""Landing, as retention sees it: old envelopes, and the objects that no younger envelope names."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from datetime import date

from pipelines.archive import Kept, keep_object
from pipelines.errors import StorageError
from pipelines.landing import Envelope, Landing, object_name
from pipelines.landing_check import envelopes
from pipelines.retention_layers import Item, cutoff_of
from pipelines.spec import UseCase
from pipelines.storage import Store, Stored
from pipelines.window import Window, parse_day

COPIERS = 4
"""Objects copied at a time; each is in memory meanwhile."""


class LandingLayer:
    """Envelopes whose window ended before the cut-off, a year of a data set at a time."""

    name = "landing"

    def __init__(self, lake: Store, use_case: UseCase, cutoff: date, today: date | None = None) -> None:
        self.lake, self.use_case, self.cutoff, self.today = lake, use_case, cutoff, today
        self.root = Landing(lake, use_case).root
        self._known: dict[str, Envelope] = {}
        self._old: dict[str, Envelope] = {}

    def held(self) -> AbstractContextManager[None]:
        """Nobody: what lands meanwhile is looked at again before an object goes."""
        return nullcontext()

    def items(self) -> list[Item]:
        """What goes, by data set and year.

        Raises:
            StorageError: an envelope cannot be read, so that nobody knows which objects it names.
        """
        stored = {item.name: item.bytes for item in self._read()}
        cutoffs = {one.name: cutoff_of(one, self.cutoff, self.today) for one in self.use_case.stored}
        self._old = {
            name: found
            for name, found in self._known.items()
            if parse_day(found.end) < cutoffs.get(found.dataset, self.cutoff)
        }
        gone = self._going_objects()
        found: dict[tuple[str, str], list[str]] = {}
        for name, envelope in self._old.items():
            names = found.setdefault((envelope.dataset, f"year={envelope.end[:4]}"), [])
            names += [name, *(other for other in _objects(envelope) if other in gone)]
            gone -= set(names)  # an object that two years name goes with the first
        return [self._item(dataset, part, names, stored) for (dataset, part), names in sorted(found.items())]

    def _item(self, dataset: str, part: str, names: list[str], stored: dict[str, int]) -> Item:
        members = self._members(dataset, part).values()
        days = Window(min(parse_day(one.start) for one in members), max(parse_day(one.end) for one in members))
        present = {name for name in names if name in stored}
        return Item(self.name, dataset, part, days, len(present), None, sum(stored[name] for name in present))

    def keep(self, item: Item, archive: Store) -> Iterator[Kept]:
        """Every envelope with all its objects, also those that stay: the archive can be read alone."""
        below = f"landing/{self.use_case.slug}"
        members = self._members(item.dataset, item.part)
        wanted: dict[str, str | None] = {
            object_name(one.sha256): one.sha256 for envelope in members.values() for one in envelope.objects
        }
        wanted |= dict.fromkeys(members)

        def keep(name: str) -> Kept:
            return keep_object(self.lake, archive, f"{below}/{name}", wanted[name])

        with ThreadPoolExecutor(COPIERS) as pool:
            yield from pool.map(keep, wanted)

    def delete(self, items: list[Item]) -> None:
        """Objects first: an envelope whose objects are gone is found again by the next run, and finished."""
        self._read()
        self.root.delete(sorted(self._going_objects()))
        self.root.delete([name for item in items for name in self._members(item.dataset, item.part)])

    def _read(self) -> list[Stored]:
        """Lists landing and reads the envelopes that are not known yet."""
        stored = list(self.root.list())
        for name, envelope in envelopes(self.root, [item for item in stored if item.name not in self._known]):
            if envelope is None:
                raise StorageError(
                    f"The envelope {name} in {self.root} cannot be read; mend or delete it, and run the same command "
                    "again. Nothing was deleted."
                )
            self._known[name] = envelope
        return stored

    def _members(self, dataset: str, part: str) -> dict[str, Envelope]:
        year = part.removeprefix("year=")
        return {name: found for name, found in self._old.items() if found.dataset == dataset and found.end[:4] == year}

    def _going_objects(self) -> set[str]:
        staying = {other for name, found in self._known.items() if name not in self._old for other in _objects(found)}
        return {other for found in self._old.values() for other in _objects(found)} - staying


def _objects(envelope: Envelope) -> list[str]:
    return [object_name(item.sha256) for item in envelope.objects]
