"""What all DAGs share: retries, the retry policy, what is told of a run that fails, and the day that a run works on."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

from airflow.sdk import Asset, CronTriggerTimetable, Param, RetryDecision, RetryPolicy
from airflow.sdk.exceptions import AirflowTaskTimeout
from notices import tell_failure, tell_recovery

from pipelines.errors import (
    ContractError,
    EvidenceError,
    NotFoundError,
    QualityError,
    RecomputeError,
    SettingsError,
    SkewError,
    TooFewRowsError,
)
from pipelines.schedule import day_of_run, window_of
from pipelines.spec import UseCase
from pipelines.window import Window, parse_day

DAY_FORMAT = "%Y-%m-%d"
PLATFORM = "platform"
KEY_FORMATS = {"day": DAY_FORMAT, "month": "%Y-%m-01"}
"""How a run's partition is named: by its day, or by the first day of its month."""


POINTLESS = (ContractError, EvidenceError, NotFoundError, QualityError, RecomputeError, SettingsError, SkewError,
             TooFewRowsError)  # fmt: skip


class RetryUnlessPointless(RetryPolicy):
    """Backs off and tries again, except where the same input would fail in the same way."""

    def evaluate(self, exception: BaseException, try_number: int, max_tries: int, context: Any = None) -> RetryDecision:
        """Fails at once on a broken contract, a wrong setting, what does not exist, too few rows, changed evidence, a
        changed past, skew, a gate that holds a day back."""
        if isinstance(exception, POINTLESS):
            return RetryDecision.fail(f"{type(exception).__name__}: trying again would not help")
        return RetryDecision.default()


class RetryUnlessLong(RetryUnlessPointless):
    """The same of a task that works for hours: what was too long for its time is so again, and others wait for it."""

    def evaluate(self, exception: BaseException, try_number: int, max_tries: int, context: Any = None) -> RetryDecision:
        """Fails at once also where the time ran out."""
        if isinstance(exception, AirflowTaskTimeout):
            return RetryDecision.fail("its time ran out, and would again")
        return super().evaluate(exception, try_number, max_tries, context)


DEFAULT_ARGS: dict[str, Any] = {
    "retries": 4,
    # 30 s, 1, 2 and 4 minutes, each with up to as much again of jitter: an upstream that restarts is back by then
    "retry_delay": timedelta(seconds=30),
    "retry_exponential_backoff": 2.0,
    "max_retry_delay": timedelta(minutes=30),
    "retry_policy": RetryUnlessPointless(),
    "execution_timeout": timedelta(hours=1),
    # Of plugins/headwater_priority.py, by name: a backfill never keeps the daily run from a slot
    "weight_rule": "headwater_priority.DailyFirst",
}
DAY_PARAM = Param(
    None,
    type=["null", "string"],
    format="date",
    title="Day",
    description="Day, or a day of the month, to work on when the run is triggered by hand without a partition; by "
    "default, that of a run now.",
)


def features_asset(use_case: UseCase) -> Asset:
    """The published features of one day, which scoring and training wait for."""
    return Asset(name=f"{use_case.slug}_features", uri=f"headwater://{use_case.slug}/features")


def run_day(use_case: UseCase, partition_key: str | None, params: dict[str, Any] | None) -> date:
    """The day of a run: its partition, else the parameter `day`, else that of a run now, where it is at home.

    Raises:
        SettingsError: it is not of the form YYYY-MM-DD.
    """
    chosen = partition_key or (params or {}).get("day")
    return parse_day(chosen) if chosen else day_of_run(use_case, datetime.now(UTC))


def run_window(use_case: UseCase, partition_key: str | None, params: dict[str, Any] | None) -> Window:
    """The days that a run works on: its day, or the month that it is in.

    Raises:
        SettingsError: the day is not of the form YYYY-MM-DD.
    """
    return window_of(use_case, run_day(use_case, partition_key, params))


def dag_options(use_case: UseCase, shape: str, doc: str | None) -> dict[str, Any]:
    """Arguments that every DAG of a use case is made with."""
    return _options(use_case.dag_id(shape), use_case.title, use_case.slug, shape, use_case.owner, doc)


def platform_options(shape: str, cron: str, doc: str | None) -> dict[str, Any]:
    """Arguments of a DAG that looks after all use cases; it runs at once, for nobody would miss it in time."""
    return {
        **_options(f"{PLATFORM}__{shape}", "Platform", PLATFORM, shape, PLATFORM, doc),
        "is_paused_upon_creation": False,
        "schedule": CronTriggerTimetable(cron, timezone="UTC"),
    }


def _options(dag_id: str, title: str, tag: str, shape: str, owner: str, doc: str | None) -> dict[str, Any]:
    return {
        "dag_id": dag_id,
        "dag_display_name": f"{title}: {shape}",
        "doc_md": doc,
        "default_args": {**DEFAULT_ARGS, "owner": owner},
        "on_failure_callback": tell_failure,
        "on_success_callback": tell_recovery,
        "tags": [tag, shape],
        "catchup": False,
        # A day after the other; Airflow counts a backfill's runs apart, against the backfill's own limit
        "max_active_runs": 1,
    }
