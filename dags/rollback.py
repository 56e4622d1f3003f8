"""
### Rollback: an earlier champion becomes the champion again

Runs by hand only: *Trigger* opens a form that asks to which version, or to whose time, and why. Without either it goes
back to the champion before the present one. **rollback** makes sure that the version's model, Bento and training
snapshot are what was promoted, moves the alias and writes who, when and why into the history. The service takes the
version over within seconds; scoring and the drift report follow with their next run.

**Needs** MLflow, Postgres, the lake and the Bento of that version.

**When it fails**

* *rollback*: the log says what is missing or has changed. `headwater models history` shows which champions there were;
  name another one.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG, Param, task
from dag_defaults import dag_options

from pipelines.registry import get_use_case, use_cases
from pipelines.spec import UseCase

FORM = {
    "to": Param(
        None,
        type=["null", "string"],
        title="To",
        description="A version, such as 3, or a time, such as 2026-03-01T12:00 (UTC); by default, the champion before.",
    ),
    "reason": Param(
        None,
        type=["null", "string"],
        title="Reason",
        description="Kept in the history of the model.",
    ),
}


def who(dag_run: Any, answered: dict[str, Any] | None) -> str:
    """Who wants it: the user who has started the run, or who has answered the incident that has."""
    if dag_run.triggering_user_name:
        return f"{dag_run.triggering_user_name} (Airflow)"
    return (answered or {}).get("answered_by") or f"the run {dag_run.run_id}"


def answered_incident(slug: str, dag_run: Any) -> dict[str, Any] | None:
    """The incident whose answer has started the run; None where a person has."""
    number = (dag_run.conf or {}).get("incident")
    if not number:
        return None
    from models.drift import incidents

    return incidents.require(get_use_case(slug), int(number))


@task
def rollback(slug: str, params: dict[str, Any] | None = None, dag_run: Any = None) -> dict[str, Any]:
    """Moves the alias back, with all that goes by the champion's version."""
    from models import rollback as back

    asked, answered = params or {}, answered_incident(slug, dag_run)
    version, time = back.target(asked.get("to"))
    return back.rollback(
        get_use_case(slug),
        who(dag_run, answered),
        asked.get("reason") or "no reason given",
        to_version=version,
        to_time=time,
        from_version=answered["model_version"] if answered else None,
        asked_at=dag_run.run_after,
    )


def build(use_case: UseCase) -> DAG:
    """The DAG `<slug>__rollback`."""
    options = dag_options(use_case, "rollback", __doc__)
    # It runs when somebody starts it, and then at once
    with DAG(**options, schedule=None, params=FORM, is_paused_upon_creation=False) as dag:
        rollback(use_case.slug)
    return dag


for case in use_cases().values():
    globals()[case.dag_id("rollback")] = build(case)
