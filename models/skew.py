"""The skew replay: what was answered online is computed again, and must come out the same.

The features of a day's logged requests are made anew by dbt, and the answers by the model version that gave them. A
feature that differs may have been right when it was served, because raw data was corrected since: where some differ,
they are computed once more from the rows that were known when the features were published. What differs even then is
skew: online and batch do not compute the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from typing import Any

from models import online, replayed
from models.online import Request
from models.skew_report import Difference, Replay
from pipelines import database, ledger, rewind
from pipelines.errors import SkewError
from pipelines.settings import Settings, get_settings
from pipelines.spec import UseCase
from pipelines.window import Window

STEP = "skew"
ASIDE = "__skew"
MOST = 10_000
"""Requests of a day that are computed again."""
MOST_MOMENTS = 10
"""Of the times at which features were published, those that are gone back to: the ones with the most differences."""
NOW = datetime(9999, 1, 1, tzinfo=UTC)


def replay(use_case: UseCase, day: date, settings: Settings | None = None, most: int = MOST) -> Replay:
    """Computes the requests of a day again, and writes the verdict to the ledger.

    Builds in schemas aside, which are dropped at the end; nobody waits for it.

    Args:
        use_case: Whose requests, by entity or with features of the client's, of which the answers alone are computed.
        day: On which they were answered, in UTC.
        settings: Of the warehouse and MLflow.
        most: How many at most, drawn by a hash of their ids.

    Raises:
        SkewError: a feature or an answer differs, and no correction of the data explains it, or that is not known.
        TransformError: a dbt model failed.
        ModelError: a version that answered is not in the registry any more, or is not the file that was packaged.
        NotFoundError: the lake's history does not reach back to the requests.
    """
    settings = settings or get_settings()
    url = settings.require_database()
    with (
        database.exclusively(url, f"skew {use_case.slug}"),
        ledger.entry(url, use_case, "predictions", STEP, Window(day, day)) as report,
    ):
        found = _replay(url, use_case, day, settings, most)
        report.state = "loaded" if found.replayed else "not-expected"
        report.counts = {"received": found.requests, "accepted": found.replayed}
        report.detail = found.told()
        if not found.passed:
            raise SkewError(f"Skew replay of {use_case.slug}: {found}.")
    return found


def _replay(url: str, use_case: UseCase, day: date, settings: Settings, most: int) -> Replay:
    asked, count = online.requests(url, use_case, day, most)
    if not asked:
        return Replay(day=day)
    try:
        looked_up = [one for one in asked if one.entity is not None and one.day is not None]
        late, skewed, unexamined = _features(url, use_case, looked_up, settings)
    finally:
        rewind.drop(url, use_case, ASIDE)
    answers = replayed.differing_answers(use_case, asked, settings)
    return Replay(
        day=day,
        requests=count,
        replayed=len(asked),
        corrected=len({one.prediction_id for one in late}),
        skewed=len({one.prediction_id for one in (*skewed, *answers)}),
        unexamined=unexamined,
        columns=tuple(_by_column("feature", skewed)) + tuple(_by_column("answer", answers)),
        corrections=tuple(_by_column("feature", late)),
    )


def _features(
    url: str, use_case: UseCase, asked: Sequence[Request], settings: Settings
) -> tuple[list[replayed.Differs], list[replayed.Differs], int]:
    """What corrections of the data explain, what they do not, and of how many answers that differ it is not known."""
    differing = _differing(url, use_case, asked, NOW, settings) if asked else []
    if not differing:
        return [], [], 0
    unlike = {one.prediction_id for one in differing}
    published = online.publications(url, use_case, max(one.at for one in asked))
    moments = {one.prediction_id: online.known_at(one, published) for one in asked if one.prediction_id in unlike}
    skewed: list[replayed.Differs] = []
    chosen = [moment for moment, _ in Counter(moments.values()).most_common(MOST_MOMENTS)]
    for moment in chosen:
        then = [one for one in asked if moments.get(one.prediction_id) == moment]
        skewed += _differing(url, use_case, then, moment, settings)
    still = {one.prediction_id for one in skewed}
    told = [one for one in differing if moments[one.prediction_id] in chosen]
    unexamined = len(unlike - {one.prediction_id for one in told})
    return [one for one in told if one.prediction_id not in still], skewed, unexamined


def _differing(
    url: str, use_case: UseCase, asked: Sequence[Request], moment: datetime, settings: Settings
) -> list[replayed.Differs]:
    rewind.build(use_case, (one.day for one in asked if one.day), moment, settings, ASIDE)
    return replayed.differing_features(url, use_case, asked, f"{use_case.slug}{ASIDE}.features")


def _by_column(kind: str, found: Iterable[replayed.Differs]) -> list[Difference]:
    """One difference a column, with how many answers have it, the most frequent first."""
    first: dict[str, replayed.Differs] = {}
    counts: Counter[str] = Counter()
    for one in found:
        first.setdefault(one.column, one)
        counts[one.column] += 1
    return [
        Difference(kind, column, rows, first[column].prediction_id, first[column].logged, first[column].anew)
        for column, rows in counts.most_common()
    ]


def newest(url: str, use_case: UseCase) -> dict[str, Any] | None:
    """The ledger's row of the newest replay, if there was one."""
    database.ensure_ops(url)
    sql = "select * from ops.ledger where use_case = %s and step = %s order by ledger_id desc limit 1"
    return next(iter(database.query(url, sql, (use_case.slug, STEP))), None)
