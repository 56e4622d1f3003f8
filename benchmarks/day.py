"""One more day, beside the history that is already there: into the lake and on into Postgres."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from benchmarks.history import History, history
from benchmarks.race import Contender, race
from benchmarks.scale import Bench
from benchmarks.tables import Line, Table, Target
from pipelines.raw_tables import raw_table
from pipelines.storage import Store

ROUNDS = 4
"""Times the rounds of other races: what is measured takes a fraction of a second."""


def tables(bench: Bench) -> Iterator[Table]:
    """A line for each length of the history."""
    lake, url, entities = Store.at(bench.server.folder / "lake"), bench.server.url, bench.scale.day_entities
    histories = {years: history(lake, url, years, entities) for years in bench.scale.day_years}
    for made in histories.values():
        bench.server.sql(f"vacuum analyze {raw_table(made.use_case, made.dataset)}")
    contenders = [
        Contender(str(years), entities, made.add, _prepared(bench, made)) for years, made in histories.items()
    ]
    timings = race(contenders, bench.scale.rounds * ROUNDS, bench.server.cpu_s)
    shortest, *longer = histories
    times = {years: timings[str(years)].seconds / timings[str(shortest)].seconds for years in histories}
    lines: list[Line] = [
        {
            "history": f"{years} years" if years > 1 else "1 year",
            "rows": made.rows,
            "lake s": min(made.lake_s),
            "load s": min(made.load_s),
            "both s": timings[str(years)].seconds,
            "processor s": timings[str(years)].cpu_s,
            f"× {shortest} year": times[years],
        }
        for years, made in histories.items()
    ]
    targets = [
        Target(f"one more day at {years // shortest}x the history, times 1x", times[years], 1.2, at_least=False)
        for years in longer
    ]
    title = f"One more day: {entities} entities, with corrections of the 14 days before"
    yield Table("day", title, lines, targets, NOTE)


NOTE = (
    "`lake`: the window is merged into the Delta table; `load`: the window is brought from there into Postgres. A "
    "tenth of the rows of the days before come corrected."
)


def _prepared(bench: Bench, made: History) -> Callable[[], None]:
    def prepare() -> None:
        made.next()
        bench.server.settle()

    return prepare
