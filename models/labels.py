"""What came of predictions: labels are filled in as they become known, and again where they were corrected."""

from __future__ import annotations

from pipelines import database
from pipelines.recompute import joined
from pipelines.spec import UseCase
from pipelines.window import Window


def fill(url: str, use_case: UseCase, window: Window, *, is_boolean: bool) -> tuple[int, int]:
    """Fills in the labels of the predictions of the window, of the days before that its labels look back to, and of
    all days whose features were computed since this was done last.

    With years of predictions, comparing all of them every day takes a minute and finds nothing.

    Returns:
        How many were filled in or corrected, and the row of the ledger up to which transforms are answered to.
    """
    answered = _answered(url, use_case)
    spans, through = [window.widened(before=use_case.label_days)], answered
    for row in database.query(
        url,
        "select ledger_id, detail -> 'spans' as spans from ops.ledger"
        " where use_case = %s and step = 'transform' and state = 'loaded' and ledger_id > %s",
        (use_case.slug, answered),
    ):
        spans += [Window.parse(*span.split("..")) for span in row["spans"] or []]
        through = max(through, row["ledger_id"])
    # No truth value becomes a float in Postgres but by way of an int
    label = f"labels.{use_case.target}{'::int' if is_boolean else ''}"
    filled = 0
    with database.connect(url) as connection, connection.cursor() as cursor:
        for span in joined(spans):
            cursor.execute(
                f"""update serving.predictions as predictions set actual = {label}
                    from {use_case.feature_table} as labels
                    where predictions.use_case = %s and predictions.day between %s and %s
                    and predictions.entity = labels.{use_case.entity}::text
                    and predictions.day = labels.{use_case.day_column}
                    and predictions.actual is distinct from {label}""",
                (use_case.slug, span.start, span.end),
            )
            filled += cursor.rowcount
    return filled, through


def _answered(url: str, use_case: UseCase) -> int:
    """The newest transform whose labels have been filled in."""
    (row,) = database.query(
        url,
        "select coalesce(max((detail ->> 'labels_through')::bigint), 0) as through from ops.ledger"
        " where use_case = %s and step = 'score'",
        (use_case.slug,),
    )
    return int(row["through"])
