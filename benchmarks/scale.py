"""How much work the benchmarks do."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.server import Server

M = 1_000_000


@dataclass(frozen=True, slots=True)
class Scale:
    """Rows of each benchmark, and rounds of each race."""

    rounds: int
    load_rows: tuple[int, ...]
    read_rows: tuple[int, ...]
    check_rows: int
    file_rows: int
    day_entities: int
    day_years: tuple[int, ...]
    memory_rows: tuple[int, ...]
    bulk_rows: int | None
    """The load that shows that memory does not grow; None where it would take too long."""
    market_instruments: int
    market_years: int
    market_days: int
    """Days of a year; fewer only try everything."""
    month_rows: tuple[int, ...]
    """Trips of the months that are checked and loaded in shards."""
    asked: int
    """How often each query is asked."""
    drift_replays: int
    """Windows without drift that are judged, of each use case."""

    def rounds_of(self, rows: int) -> int:
        """Rounds of a race over so many rows: long ones are disturbed less."""
        return self.rounds if rows <= M else min(self.rounds, 3)


FULL = Scale(5, (M, 10 * M), (M, 10 * M), M, 5 * M, 100, (1, 10, 100), (M, 5 * M, 20 * M), 50 * M, 2_000, 10, 365,
             (M, 5 * M, 15 * M), 300, 1000)  # fmt: skip
QUICK = Scale(3, (M,), (M,), M, M, 50, (1, 10), (M // 4, M), None, 500, 2, 365, (M // 4, M), 100, 50)


def tiny(rows: int) -> Scale:
    """Every benchmark on so few rows that nothing is measured, only tried."""
    return Scale(1, (rows,), (rows,), rows, rows, 2, (1, 2), (rows, 2 * rows), rows, 3, 1, 40, (rows,), 3, 2)


@dataclass(frozen=True, slots=True)
class Bench:
    """What a benchmark is given."""

    server: Server
    scale: Scale
