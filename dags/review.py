"""
### Review: a person says what is to be done about an incident

Started by `<slug>__score` when a drift incident needs a person; the next day's run does not wait for it. **ask** shows
the verdict, the picture and the report, and waits, without a worker, for *acknowledge*, *retrain* or *roll back*;
**record** keeps the answer with name and reason; then **acknowledge** ends it, **retrain** starts `<slug>__train` or
**roll_back** starts `<slug>__rollback`. Unanswered, the question expires, and the default of the spec counts. An answer
that comes when the incident is over, or another model is champion, is kept, and nothing is started.

**Needs** Postgres. Whom it asks is the setting HEADWATER_REVIEWERS; whoever may answer, where it is empty.

**When it fails**

* *ask*: the run was started by hand without an incident's number, or with one that is not there; see
  `headwater incidents <slug>`.
* *retrain*: `<slug>__train` is paused. Unpause it, and clear the task. *roll_back* alike.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.sdk import DAG, Param, task
from approval import REASON_PARAM
from dag_defaults import dag_options
from starting import StartDag

from pipelines.registry import get_use_case, use_cases
from pipelines.spec import UseCase

ANSWERS = {"Acknowledge": "acknowledge", "Retrain": "retrain", "Roll back": "roll_back"}
"""What can be answered, and the task that follows."""
INCIDENT_PARAM = Param(
    None,
    type=["null", "integer", "string"],
    title="Incident",
    description="Its number, as `headwater incidents` shows it.",
)


class Ask(HITLOperator):
    """Asks a person about the run's incident; gives the answer, and by which `actor` and for which `reason`."""

    def __init__(self, *, use_case: UseCase, **options: Any) -> None:
        super().__init__(options=list(ANSWERS), **options)
        self.use_case = use_case

    def execute(self, context: Any) -> Any:
        """Asks, with what is known of the incident."""
        from models.drift import incidents, review
        from pipelines.settings import get_settings

        number = incident_of(context["params"])
        incident = incidents.require(self.use_case, number)
        self.subject = review.subject(self.use_case, incident)
        self.body = review.body(self.use_case, incident)
        self.assigned_users = [{"id": name, "name": name} for name in get_settings().reviewer_names]
        return super().execute(context)

    def execute_complete(self, context: Any, event: dict[str, Any]) -> dict[str, Any]:
        """What the person said; or the default of the spec, where nobody did in time."""
        answer = super().execute_complete(context, event)
        (chosen,), person = answer["chosen_options"], answer["responded_by_user"]
        said = answer["params_input"].get("reason") if person else None
        if not person:
            said = f"nobody answered within {self.use_case.watch.timeout_hours} hours"
        return {
            "answer": chosen.lower(),
            "actor": f"{person['name']} (Airflow)" if person else "default of the spec",
            "reason": (said or "no reason given")[:1000],
            "is_default": not person,
        }


def incident_of(params: dict[str, Any]) -> int:
    """The number of the run's incident.

    Raises:
        SettingsError: it was started without one.
    """
    from pipelines.errors import SettingsError

    if params.get("incident") is None:
        raise SettingsError("This run names no incident; start it with one, as `headwater incidents` lists them.")
    return int(params["incident"])


@task.branch
def record(slug: str, said: dict[str, Any], params: dict[str, Any] | None = None) -> str:
    """Keeps the answer, and gives the task that follows from it: none where the answer came too late."""
    from models.drift import incidents

    stands = incidents.answer(
        get_use_case(slug),
        incident_of(params or {}),
        said["answer"],
        said["actor"],
        said["reason"],
        is_default=said["is_default"],
    )
    return ANSWERS[said["answer"].capitalize() if stands else "Acknowledge"]


@task
def acknowledge() -> None:
    """Nothing more is done."""


def build(use_case: UseCase) -> DAG:
    """The DAG `<slug>__review`."""
    options = dag_options(use_case, "review", __doc__) | {"max_active_runs": 16, "params": {"incident": INCIDENT_PARAM}}
    because = "incident {{ params.incident }}: {{ ti.xcom_pull(task_ids='ask')['reason'] }}"
    named = "incident_{{ params.incident }}_{{ ti.try_number }}"
    # It runs when it is started, and a question that waits for somebody to unpause it is seen by nobody
    with DAG(**options, schedule=None, is_paused_upon_creation=False) as dag:
        ask = Ask(
            task_id="ask",
            subject=f"{use_case.slug} has drifted: what is to be done?",
            use_case=use_case,
            defaults=use_case.watch.default.capitalize(),
            params={"reason": REASON_PARAM},
            response_timeout=timedelta(hours=use_case.watch.timeout_hours),
        )
        retrain = StartDag(
            task_id="retrain",
            starts=use_case.dag_id("train"),
            run_id=named,
        )
        roll_back = StartDag(
            task_id="roll_back",
            starts=use_case.dag_id("rollback"),
            run_id=named,
            conf={"reason": because, "incident": "{{ params.incident }}"},
        )
        record(use_case.slug, ask.output) >> [acknowledge(), retrain, roll_back]
    return dag


for case in use_cases().values():
    globals()[case.dag_id("review")] = build(case)
