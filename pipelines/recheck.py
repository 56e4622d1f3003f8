"""All features computed anew and held against those that are published: it must change nothing, and says so if it does.

The daily transform computes only the days that a change reaches. Whether it reaches all of them is what this shows: the
same models are built from the first day on, in schemas aside, and compared with the published table row by row.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from pipelines import comparison, database, dbt, ledger, recompute, steps
from pipelines.errors import HeadwaterError, NotFoundError, RecomputeError
from pipelines.raw_tables import raw_table
from pipelines.settings import Settings, get_settings
from pipelines.spec import UseCase
from pipelines.window import Window

STEP = "recompute"
ASIDE = "__recompute"


def run(use_case: UseCase, settings: Settings | None = None) -> dict[str, Any]:
    """Computes the features of all days anew and compares them with the published ones.

    What loads have touched since the last transform is computed first, as the next daily run would: that is news, and
    no difference. Loads of the use case wait meanwhile; readers, and what is published, are left alone.

    Where something differs, the verdict is written to the ledger and then the new values are published: they are what
    the present code makes of the present rows, on all days alike, and the old ones are made by several. The old values
    stay in `<slug>_recompute.differences`.

    Returns:
        `rows`, and `changed`, `added` and `removed`, which are 0.

    Raises:
        NotFoundError: there are no features yet.
        RecomputeError: something was different; the new values are published.
        TransformError: a dbt node failed; the features published before stand.
    """
    settings = settings or get_settings()
    url = settings.require_database()
    with _loads_waiting(url, use_case):
        days = _all_days(url, use_case)
        kept = _kept(url, use_case, days)
        _bring_news(url, use_case, days, settings)
        try:
            with ledger.entry(url, use_case, "features", STEP, days) as report:
                found = _compared(url, use_case, days, kept, settings)
                report.counts = {"accepted": found.rows_after, "inserted": found.added, "updated": found.changed,
                                 "unchanged": found.rows_after - found.added - found.changed}  # fmt: skip
                report.detail = found.told()
                if not found.is_equal:
                    raise RecomputeError(_sentence(use_case, found))
        except RecomputeError as error:
            _publish(use_case, kept, settings, error)
            raise
    return {"rows": found.rows_after, "changed": found.changed, "added": found.added, "removed": found.removed}


def differences_table(use_case: UseCase) -> str:
    """Qualified name of the table with the values that differed, of the newest recompute that found some."""
    return f"{use_case.slug}_recompute.differences"


def newest(url: str, use_case: UseCase) -> dict[str, Any] | None:
    """The ledger's row of the newest recompute, if there was one."""
    database.ensure_ops(url)
    sql = "select * from ops.ledger where use_case = %s and step = %s order by ledger_id desc limit 1"
    return next(iter(database.query(url, sql, (use_case.slug, STEP))), None)


@contextmanager
def _loads_waiting(url: str, use_case: UseCase) -> Iterator[None]:
    with ExitStack() as locks:
        for dataset in use_case.datasets:
            locks.enter_context(database.exclusively(url, raw_table(use_case, dataset)))
        yield


def _bring_news(url: str, use_case: UseCase, days: Window, settings: Settings) -> None:
    """Computes what loads have touched since the last transform, and no day more: that would hide what differs."""
    with database.exclusively(url, f"dbt {use_case.slug}"):
        pass  # a transform that is under way ends first
    if recompute.due(url, use_case).spans:
        steps.transform(use_case, days, settings, only_touched=True)


def _all_days(url: str, use_case: UseCase) -> Window:
    """The days of the raw tables and of the features.

    Raises:
        NotFoundError: nothing was loaded or published yet.
    """
    known = recompute.history(url, use_case)
    if known is None or not database.exists(url, use_case.feature_table):
        raise NotFoundError(
            f"{use_case.slug} has no features yet; bring history in: headwater bootstrap {use_case.slug}."
        )
    day = use_case.day_column
    (row,) = database.query(url, f"select min({day}) as first, max({day}) as last from {use_case.feature_table}")
    return known if row["first"] is None else known | Window(row["first"], row["last"])


def _kept(url: str, use_case: UseCase, days: Window) -> Window:
    """These days without those that retention may have archived: before the first published and older than it keeps."""
    day = use_case.day_column
    first = database.query(url, f"select min({day}) as day from {use_case.feature_table}")[0]["day"] or days.start
    limit = datetime.now(UTC).date() - timedelta(days=use_case.retention.features_days)
    return Window(max(days.start, min(first, limit)), days.end)


def _compared(url: str, use_case: UseCase, days: Window, kept: Window, settings: Settings) -> comparison.Comparison:
    dbt.drop_built(url, use_case, ASIDE)
    try:
        dbt.build(use_case, days, settings, aside=ASIDE)
        if kept != days:
            database.query(url, f"delete from {use_case.slug}{ASIDE}.features"
                                f" where {use_case.day_column} < '{kept.start}'")  # fmt: skip
        key = (use_case.entity, use_case.day_column)
        anew = f"{use_case.slug}{ASIDE}.features"
        return comparison.compare(url, use_case.feature_table, anew, key, differences_table(use_case))
    finally:
        dbt.drop_built(url, use_case, ASIDE)


def _sentence(use_case: UseCase, found: comparison.Comparison) -> str:
    return (
        f"{found.differing} of the {found.rows_before} feature rows of {use_case.slug} are not what is computed anew: "
        f"{found.said()}. The new values are published; the old ones stand in {differences_table(use_case)}."
    )


def _publish(use_case: UseCase, days: Window, settings: Settings, verdict: RecomputeError) -> None:
    try:
        dbt.build(use_case, days, settings)
    except HeadwaterError as error:
        raise RecomputeError(f"{verdict} They could not be published, though: {error}") from error
