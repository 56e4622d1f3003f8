"""What came of predictions: labels are filled in as they become known, and again where they were corrected."""

from __future__ import annotations

from datetime import datetime

from pipelines import database
from pipelines.raw_tables import raw_table
from pipelines.recompute import joined
from pipelines.spec import UseCase
from pipelines.window import Window


def fill(url: str, use_case: UseCase, window: Window, *, is_boolean: bool) -> tuple[int, int]:
    """Fills in the labels of the predictions of the window, of the days before that its labels look back to, of all
    days whose features were computed since this was done last, and of all that the service was asked for since then.

    With years of predictions, comparing all of them every day takes a minute and finds nothing.

    Returns:
        How many were filled in or corrected, and the row of the ledger up to which transforms are answered to.
    """
    answered = _answered(url, use_case)
    spans, through = [window.widened(before=use_case.label_days), *_asked_for(url, use_case)], answered
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
                    where predictions.use_case = %s and predictions.channel <> 'nowcast'  -- which is of no day
                    and predictions.day between %s and %s
                    and predictions.entity = labels.{use_case.entity}::text
                    and predictions.day = labels.{use_case.day_column}
                    and predictions.actual is distinct from {label}""",
                (use_case.slug, span.start, span.end),
            )
            filled += cursor.rowcount
    return filled, through


def _asked_for(url: str, use_case: UseCase) -> list[Window]:
    """The days of the service's answers since the scoring before, of which nothing is known yet: a client may ask for
    one that is long past, and whose features are not computed again.

    And of a day more, since the log reaches the warehouse later than the answer its client.
    """
    rows = database.query(
        url,
        """select distinct day from serving.predictions
           where use_case = %s and channel in ('online', 'shadow') and day is not null and actual is null
             and predicted_at > (
                 select coalesce(max(at), '-infinity') - interval '1 day' from ops.ledger
                 where use_case = %s and step = 'score' and state <> 'failed')""",
        (use_case.slug, use_case.slug),
    )
    return [Window(row["day"], row["day"]) for row in rows]


def fill_nowcast(url: str, use_case: UseCase, since: datetime, until: datetime) -> int:
    """Fills in what came of the nowcast's forecasts from moments in (since, until], or corrects it: the mean of the
    values measured in the `label_hours` after each moment.

    Nothing is filled in before that time is over by the entity's own values, nor where they are of too few hours.

    Returns:
        How many were filled in or corrected.
    """
    nowcast = use_case.nowcast
    if nowcast is None or nowcast.label_column is None:
        return 0
    dataset = next(one for one in nowcast.datasets if nowcast.label_column in {column.name for column in one.columns})
    table, at, day = raw_table(use_case, dataset), nowcast.time_column, dataset.day_column
    if not database.exists(url, table):
        return 0
    hours = f"interval '{nowcast.label_hours} hours'"
    parameters = {"slug": use_case.slug, "since": since, "until": until, "least": nowcast.label_least_hours}
    with database.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute(
            f"""with told as (
                    select distinct entity, features_at from serving.predictions
                    where use_case = %(slug)s and channel = 'nowcast' and predicted_at > %(since)s
                      and features_at > %(since)s and features_at <= %(until)s),
                measured as (
                    select {use_case.entity}::text as entity, {at} as at, {nowcast.label_column}::float8 as value
                    from {table}
                    where {day} >= (%(since)s at time zone 'UTC')::date and {nowcast.label_column} is not null),
                -- A value stands for the time until the next one, so the last of a span comes a step before its end
                newest as (select entity, max(at) + interval '{nowcast.minutes} minutes' as until
                           from measured group by 1),
                labels as (
                    select told.entity, told.features_at, avg(measured.value) as label
                    from told join newest on newest.entity = told.entity and newest.until >= told.features_at + {hours}
                    join measured on measured.entity = told.entity
                        and measured.at >= told.features_at and measured.at < told.features_at + {hours}
                    group by 1, 2
                    having count(distinct date_trunc('hour', measured.at, 'UTC')) >= %(least)s)
                update serving.predictions as predictions set actual = labels.label from labels
                where predictions.use_case = %(slug)s and predictions.channel = 'nowcast'
                  and predictions.predicted_at > %(since)s and predictions.entity = labels.entity
                  and predictions.features_at = labels.features_at
                  and predictions.actual is distinct from labels.label""",
            parameters,
        )
        return int(cursor.rowcount)


def _answered(url: str, use_case: UseCase) -> int:
    """The newest transform whose labels have been filled in."""
    (row,) = database.query(
        url,
        "select coalesce(max((detail ->> 'labels_through')::bigint), 0) as through from ops.ledger"
        " where use_case = %s and step = 'score'",
        (use_case.slug,),
    )
    return int(row["through"])
