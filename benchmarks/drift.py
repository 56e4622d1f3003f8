"""Drift: how often calm windows are called drift, which planted shifts are caught, and what a large report costs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks import drift_rows
from benchmarks.child import spent
from benchmarks.drift_rows import Rows
from benchmarks.scale import Bench
from benchmarks.tables import Line, Table, Target
from models.drift.verdict import Verdict, decide, numbers
from models.drift.windows import plan, span
from pipelines.registry import get_use_case
from pipelines.spec import UseCase
from pipelines.window import Window

YEARS = {"flood": 18, "taxi": 4, "churn": 3, "equities": 3}
"""Years of training rows before each window."""
MONTHS_BEFORE = 100
"""Months that are made beyond those that are judged, where a window is a month; more than the years before it."""
PLANTED = 16
"""Windows in which each column is shifted."""
SAMPLED = 15_000
"""Rows of a replay; a report has up to 50,000."""
SHIFT = 0.5
CAUGHT = 0.8
"""Share of the shifts that is to be caught: the usual power of a test."""
LARGE = (1_000_000, 25)


def tables(bench: Bench) -> Iterator[Table]:
    """Replays of windows without drift, the same with a planted shift, and a report of a million rows."""
    lines, caught = list[Line](), list[Line]()
    for slug in YEARS:
        use_case, count = get_use_case(slug), bench.scale.drift_replays
        rows = getattr(drift_rows, slug)(*([MONTHS_BEFORE + count] if _by_month(use_case) else []))
        line, columns = _replayed(use_case, rows, count)
        lines.append(line)
        caught += columns
    targets = [
        Target(f"{line['use case']}: rate in terms of what was promised", _ratio(line), 1.5, at_least=False)
        for line in lines
    ]
    yield Table("drift calm", "Drift: windows without drift", lines, targets,
                "Data of the sandbox's generators, many years of them; the features of each window are held against "
                "those of the years before it, as a report does; predictions, quality and Evidently's page are left "
                "out. No window occurs twice. Slow columns are among those caught least.")  # fmt: skip
    shares = [
        Target(f"{line['use case']}: share of the shifts caught", float(line["shifts caught"] or 0), CAUGHT)
        for line in lines
    ]
    yield Table("drift caught", f"Drift: a shift of {SHIFT} standard deviations in one feature", caught, shares)
    yield _large(bench)


def _ratio(line: Line) -> float:
    # 0.015 / 0.01 is a little more than 1.5
    return round(float(line["called drift"] or 0) / float(line["promised"] or 1), 9)


def _replayed(use_case: UseCase, rows: Rows, count: int) -> tuple[Line, list[Line]]:
    random, years = np.random.default_rng(7), YEARS[use_case.slug]
    order = np.argsort(rows.days, kind="stable")
    days, values = rows.days[order], rows.values[order]
    ends = _ends(use_case, days, years, count, random)
    planted = max(1, min(PLANTED, count // 10))
    calm, found, started = list[Verdict](), np.zeros((planted, len(rows.names))), time.perf_counter()
    for at, end in enumerate(ends):
        sample, window, member_days = _sample(use_case, days, end, years, random)
        part = values[sample]
        calm.append(_said(use_case, rows.names, part, member_days, window))
        if at < planted:
            spread, now = np.nanstd(part, axis=0), member_days >= np.datetime64(window.start)
            for column, name in enumerate(rows.names):
                moved = part.copy()
                moved[now, column] += SHIFT * spread[column]
                verdict = _said(use_case, rows.names, moved, member_days, window)
                found[at, column] = name in verdict.drifted
    seconds = time.perf_counter() - started
    shares = dict(zip(rows.names, found.mean(axis=0).tolist(), strict=True))
    line: Line = {
        "use case": use_case.slug,
        "replays": len(calm),
        "columns": len(rows.names),
        "reference windows": float(np.mean([one.reference_windows for one in calm])),
        "promised": float(np.mean([one.rate for one in calm])),
        "called drift": float(np.mean([one.verdict == "drift" for one in calm])),
        "shifts caught": float(found.mean()),
        "seconds each": seconds / (len(calm) + found.size),
    }
    return line, [_caught(use_case, planted, shares)]


def _caught(use_case: UseCase, planted: int, shares: dict[str, float]) -> Line:
    missed = sorted((share, name) for name, share in shares.items() if share < 1)
    return {
        "use case": use_case.slug,
        "windows": planted,
        "columns": len(shares),
        "always caught": sum(share == 1 for share in shares.values()),
        "caught in the share given": ", ".join(f"{name} {share:.2f}" for share, name in missed) or "none other",
    }


def _ends(use_case: UseCase, days: np.ndarray, years: int, count: int, random: np.random.Generator) -> list[date]:
    """Last days of windows that have the years before them; months' last days where features come by the month."""
    first, last = days[0] + np.timedelta64(366 * (years + 1), "D"), days[-1]
    every = np.arange(first, last, dtype="datetime64[D]")
    if _by_month(use_case):
        months = np.unique(every.astype("datetime64[M]"))[1:-1]
        every = (months + 1).astype("datetime64[D]") - 1
    return [date.fromisoformat(str(day)) for day in random.choice(every, count, replace=False)]


def _by_month(use_case: UseCase) -> bool:
    return use_case.period == "month" or use_case.features_on == "month_end"


def _sample(
    use_case: UseCase, days: np.ndarray, end: date, years: int, random: np.random.Generator
) -> tuple[np.ndarray, Window, np.ndarray]:
    """Rows of a window and of the years before it, and their days."""
    window = span(use_case, end)
    low = int(np.searchsorted(days, np.datetime64(end - timedelta(days=365 * years + 30))))
    high = int(np.searchsorted(days, np.datetime64(end), side="right"))
    share = min(1.0, SAMPLED / max(high - low, 1))
    sample = np.flatnonzero(random.random(high - low) < share) + low
    return sample, window, days[sample]


def _said(use_case: UseCase, names: list[str], values: np.ndarray, days: np.ndarray, window: Window) -> Verdict:
    now = days >= np.datetime64(window.start)
    order = np.concatenate([np.flatnonzero(~now), np.flatnonzero(now)])
    stamps = pd.Series(pd.to_datetime(days[order]))
    kept = int((~now).sum())
    spans = plan(use_case, window, stamps.iloc[:kept], stamps.iloc[kept:], 20)
    part = numbers("feature", names, values[order], spans, days[order].astype(int))
    return decide([part], use_case.watch)


def _large(bench: Bench) -> Table:
    rows, columns = LARGE if bench.scale.rounds > 1 else (5_000, 5)
    folder = bench.server.folder / "drift"
    write_large(folder / "snapshot", rows, columns)
    taken = spent("benchmarks.drift:report_large", folder, rows, columns)
    line: Line = {"rows": rows, "columns": columns, "seconds": taken.seconds, "peak MB": taken.peak_mb,
                  "of which imports MB": taken.before_mb}  # fmt: skip
    return Table("drift large", "Drift: the report of a large snapshot", [line], [
        Target("peak MB", taken.peak_mb, 2_000, at_least=False)],
        "Reading the sample from the lake's files, verdict, Evidently's page and its compression, in a process of its "
        "own; without MLflow.")  # fmt: skip


def report_large(folder: str, rows: str, columns: str) -> None:
    """The sample of a snapshot of so many rows, the verdict on its newest month, and the page."""
    import polars as pl

    from models.drift import evidently, page
    from models.drift import rows as drift_samples

    names = [f"column_{number}" for number in range(int(columns))]
    found = pl.scan_parquet(Path(folder) / "snapshot" / "*.parquet")
    frame = drift_samples.thinned(found, int(rows)).sort("day").to_pandas()
    window = Window(date(2024, 12, 2), date(2024, 12, 31))
    days, values = frame["day"].to_numpy().astype("datetime64[D]"), frame[names].to_numpy()
    said = _said(get_use_case("equities"), names, values, days, window)
    now = days >= np.datetime64(window.start)
    drawn = evidently.page(frame.loc[now, names], frame.loc[~now, names])
    html = page.verdict_html("large", said.said, said.columns)
    assert page.write(Path(folder) / "large.html", "large", html, drawn) < page.MOST_BYTES


def write_large(path: Path, rows: int, columns: int) -> None:
    """Files of a snapshot: four years, in pieces that none holds all of."""
    import polars as pl

    path.mkdir(parents=True)
    random = np.random.default_rng(3)
    for piece in range(10):
        count = rows // 10
        made = pl.DataFrame({f"column_{number}": random.normal(size=count) for number in range(columns)})
        day = pl.Series(np.datetime64("2021-01-01") + random.integers(0, 1461, count).astype("timedelta64[D]"))
        made.with_columns(day.alias("day")).write_parquet(path / f"{piece}.parquet")
