"""What a nowcast asks an upstream for: the values since those it knows, of each entity."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class News:
    """A span of time, and the newest value known of each entity in it; `overlap` of them are asked for again."""

    since: datetime
    until: datetime
    newest: Mapping[str, datetime]
    overlap: timedelta

    def asked(self, entities: Sequence[str]) -> Iterator[tuple[datetime, list[str]]]:
        """From when on to ask for which entities: few groups, so that few requests do.

        Those whose newest value is within the overlap of the newest of all share one request. One that is behind, new
        or back from a silence, is asked for all of the span: what a gauge could not send, it may send later.
        """
        known = max(self.newest.values(), default=self.since)
        near = max(self.since, known - self.overlap)
        fresh = [entity for entity in entities if self.newest.get(entity, self.since) > near]
        behind = sorted(set(entities) - set(fresh))
        if fresh:
            yield near, fresh
        if behind:
            yield self.since, behind
