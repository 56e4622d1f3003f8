"""The question to a person whether a challenger may become champion, as a task that holds no worker while it waits."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.sdk import Param

from pipelines.spec import UseCase

APPROVE, REJECT = "Approve", "Reject"
REASON_PARAM = Param(
    None,
    type=["null", "string"],
    title="Reason",
    description="Kept with your name in the history of the model.",
)


class Approve(HITLOperator):
    """Lets a challenger through by the policy of its spec, or asks a person, who is shown what there is to decide on.

    Whom it asks is the setting HEADWATER_REVIEWERS; whoever may answer, where it is empty. Its result says whether it
    was `approved`, whether by a `person`, by which `actor` and for which `reason`.
    """

    template_fields = (*HITLOperator.template_fields, "selected", "packaged")

    def __init__(self, *, use_case: UseCase, selected: Any, packaged: Any, **options: Any) -> None:
        super().__init__(options=[APPROVE, REJECT], **options)
        self.use_case = use_case
        self.selected = selected
        self.packaged = packaged

    def execute(self, context: Any) -> Any:
        """Asks, unless the policy answers."""
        from models import approval
        from pipelines.settings import get_settings

        reason = None if context["params"].get("ask") else approval.by_policy(self.use_case, self.selected)
        if reason is not None:
            return {
                "approved": True,
                "person": False,
                "actor": approval.POLICY,
                "reason": f"{reason}; {self.selected['verdict']}"[:1000],
            }
        self.subject = approval.subject(self.use_case, self.selected)
        self.body = approval.body(self.use_case, self.selected, self.packaged)
        self.assigned_users = [{"id": name, "name": name} for name in get_settings().reviewer_names]
        return super().execute(context)

    def execute_complete(self, context: Any, event: dict[str, Any]) -> dict[str, Any]:
        """What the person said; or the default of the spec, where nobody did in time."""
        answer = super().execute_complete(context, event)
        person, said = answer["responded_by_user"], answer["params_input"].get("reason")
        approved = answer["chosen_options"] == [APPROVE]
        if not person:
            actor = "default of the spec"
            said = f"nobody answered within {self.use_case.approval.timeout_hours} hours"
        else:
            actor = f"{person['name']} (Airflow)"
        said = (said or "no reason given")[:1000]
        return {"approved": approved, "person": bool(person), "actor": actor, "reason": said}


def approve(use_case: UseCase, selected: Any, packaged: Any) -> Any:
    """The task, with the timeout and the default of the spec; gives its result."""
    task = Approve(
        task_id="approve",
        subject=f"Shall the challenger of {use_case.slug} become champion?",
        use_case=use_case,
        selected=selected,
        packaged=packaged,
        defaults=use_case.approval.default.capitalize(),
        params={"reason": REASON_PARAM},
        response_timeout=timedelta(hours=use_case.approval.timeout_hours),
    )
    return task.output
