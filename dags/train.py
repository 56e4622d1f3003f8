"""
### Train: candidates on one snapshot, the best one gated, packaged, tested and promoted

Runs when a whole week of features has been published (its partition is the week's Monday), or, where the spec's period
is a month, a whole month (its partition is the month's first day); or by hand.
**start** keeps the training rows as a snapshot; the **candidates** are searched and trained side by side, a task each,
and measured on one hold-out; beside them, **probe** looks for features that know what came after the cut-off;
**select** registers the best one as *challenger* and holds it against the gate (baseline, present champion, segments,
the probe); **package** builds its Bento, asks it, as a real server, for known answers, and takes the hashes of all that
it consists of; **approve** lets it through by the policy of the spec, or waits for a person, who is shown the
comparison and gives a reason; **promote** takes the hashes anew and makes it *champion*, which the prediction service
then takes over.

The parent run in MLflow (tag `dag_run`) ends as this run does: finished, or failed, also where a task was killed; what
is still open beneath it ends as killed. Cleared as a whole, this run begins another parent run.

**Needs** the features, the lake, MLflow and Postgres.

**When it fails**

* *start*: too few rows; bring history in first (`headwater bootstrap`).
* *probe* failed: a dbt model did; its sentence says which. (A leak that was found fails nothing: the gate refuses.)
* *train_candidate*: the log says which candidate; killed by a signal, it was most likely out of memory: set the spec's
  `sample_rows`, or `HEADWATER_DASK`. The others can still be selected: mark it skipped.
* *package* skipped: the gate refused the challenger, and *select* says which clause; the champion stays.
* *package* failed: the Bento's answers are not the model's, and nothing was promoted.
* *approve* waits: somebody has to answer, under *Required Actions* of the run; after the time that the spec gives, its
  default counts. `headwater models approve` or `reject` decide as well.
* *promote* skipped: it was turned down; `headwater models history` says by whom and why.
* *promote* failed: the log names what has changed since it was packaged, or the champion that came in between. Find out
  who changed it, and train again.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

from airflow.sdk import (
    DAG,
    Param,
    PartitionedAssetTimetable,
    RollupMapper,
    StartOfWeekMapper,
    WeekWindow,
    task,
)
from airflow.sdk.exceptions import AirflowSkipException
from approval import approve
from dag_defaults import DAY_FORMAT, dag_options, features_asset

from pipelines.pools import WAREHOUSE
from pipelines.registry import get_use_case, use_cases
from pipelines.spec import UseCase
from pipelines.window import month_of, parse_day

CUTOFF_PARAM = Param(
    None,
    type=["null", "string"],
    format="date",
    title="Cut-off",
    description="First day of the hold-out; by default, as the use case declares it.",
)
ASK_PARAM = Param(
    False,
    type="boolean",
    title="Ask a person",
    description="Ask a person also where the policy of the spec would let the model through.",
)


@task
def candidates(slug: str) -> list[str]:
    """Names of the models that compete."""
    from models import train

    return train.candidate_names(get_use_case(slug))


@task
def start(
    slug: str, partition_key: str | None = None, params: dict[str, Any] | None = None, run_id: str | None = None
) -> dict[str, Any]:
    """The snapshot and the parent run."""
    from models import train
    from models.snapshot import Extent

    use_case = get_use_case(slug)
    cutoff = (params or {}).get("cutoff")
    until = _last_day(use_case, parse_day(partition_key)) if partition_key else None
    extent = Extent(cutoff=parse_day(cutoff) if cutoff else None, until=until)
    return train.start(use_case, extent=extent, tags={"dag_run": run_id or ""})


def _last_day(use_case: UseCase, first: date) -> date:
    """The last day of the week or the month that a training is for; a label of that very day is known the day after."""
    if use_case.period == "month":
        return month_of(first).end + timedelta(days=1)
    return first + timedelta(days=6)


@task
def train_candidate(slug: str, training: dict[str, Any], name: str) -> dict[str, Any]:
    """Fits one candidate and measures it on the hold-out."""
    from models import train

    return train.train_candidate(get_use_case(slug), training, name)


@task(pool=WAREHOUSE.name)
def probe(slug: str, training: dict[str, Any]) -> dict[str, Any]:
    """Builds the features with another future, in schemas aside: none of a day before the cut-off may move."""
    from models import leakage

    return leakage.probe(get_use_case(slug), training)


# A candidate that somebody has marked as skipped must not skip the selection among the others
@task(trigger_rule="none_failed_min_one_success")
def select(slug: str, training: dict[str, Any], trained: Any, probed: dict[str, Any]) -> dict[str, Any]:
    """Registers the best one as challenger and holds it against the gate."""
    from models import selection

    return selection.select(get_use_case(slug), training, list(trained), clauses=[probed])


@task
def package(slug: str, training: dict[str, Any], selected: dict[str, Any]) -> dict[str, Any]:
    """Builds the Bento and tests it as a real server."""
    from models import packaging

    if not selected["passed"]:
        raise AirflowSkipException(f"The gate refused version {selected['version']}: {selected['verdict']}.")
    return packaging.package(get_use_case(slug), training, selected)


@task
def promote(
    slug: str,
    selected: dict[str, Any],
    packaged: dict[str, Any],
    decision: dict[str, Any],
) -> int:
    """Makes it champion, if that was approved."""
    from models import promotion

    use_case, version = get_use_case(slug), int(selected["version"])
    # On the pages and by command it may have been decided while this question waited; that stands
    if not (decision["approved"] and decision["person"]) and not promotion.waits(use_case, version):
        raise AirflowSkipException(f"Somebody has decided on version {version} elsewhere; nothing is changed.")
    if not decision["approved"]:
        promotion.reject(use_case, version, decision["actor"], decision["reason"])
        raise AirflowSkipException(f"Version {version} was turned down by {decision['actor']}: {decision['reason']}.")
    return promotion.promote(use_case, version, decision["actor"], decision["reason"], packaged["evidence_sha256"])


def end_run(context: Any, *, succeeded: bool) -> None:
    """Gives the parent run the status of its DAG run; called when that has ended, also when a task was killed."""
    from models import runs
    from pipelines.settings import get_settings

    slug, _, _ = context["dag"].dag_id.partition("__")
    runs.end_dag_run(get_use_case(slug), get_settings(), context["run_id"], succeeded=succeeded)


def end_finished(context: Any) -> None:
    """For a DAG run that has succeeded."""
    end_run(context, succeeded=True)


def end_failed(context: Any) -> None:
    """For a DAG run that has failed."""
    end_run(context, succeeded=False)


def build(use_case: UseCase) -> DAG:
    """The DAG `<slug>__train`."""
    features = features_asset(use_case)
    if use_case.period == "month":
        timetable = PartitionedAssetTimetable(assets=features)
    else:
        week = RollupMapper(
            upstream_mapper=StartOfWeekMapper(input_format=DAY_FORMAT, output_format=DAY_FORMAT), window=WeekWindow()
        )
        timetable = PartitionedAssetTimetable(assets=features, default_partition_mapper=week)
    options = dag_options(use_case, "train", __doc__) | {"params": {"cutoff": CUTOFF_PARAM, "ask": ASK_PARAM}}
    # The parent run first: the mail may wait for a server
    options["on_failure_callback"] = [end_failed, options["on_failure_callback"]]
    options["on_success_callback"] = [end_finished, options["on_success_callback"]]
    with DAG(**options, schedule=timetable) as dag:
        training = start(use_case.slug)
        names = candidates(use_case.slug)
        trained = train_candidate.partial(slug=use_case.slug, training=training).expand(name=names)
        probed = probe(use_case.slug, training)
        selected = select(use_case.slug, training, trained, probed)
        packaged = package(use_case.slug, training, selected)
        promote(use_case.slug, selected, packaged, approve(use_case, selected, packaged))
    return dag


for case in use_cases().values():
    globals()[case.dag_id("train")] = build(case)
