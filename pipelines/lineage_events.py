"""OpenLineage events of the DAGs' tasks, to a file or to a server (https://openlineage.io/docs/spec/object-model).

A task is a job `<slug>__<shape>.<task>` in the namespace `headwater.<env>`, each of its tries a run of it with the DAG
run as its parent. What goes out is told by `lineage_sets`, before the task has run: what it reads and writes depends on
nothing that it finds.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from uuid import NAMESPACE_URL, uuid5

from pipelines.errors import NotFoundError
from pipelines.ledger import code_version
from pipelines.lineage_sets import DataSet, flow
from pipelines.registry import get_use_case
from pipelines.settings import Settings

if TYPE_CHECKING:
    from openlineage.client.event_v2 import Dataset, RunEvent
    from openlineage.client.facet_v2 import RunFacet

State = Literal["START", "COMPLETE", "FAIL"]
OPENLINEAGE = "openlineage"
"""Name of the server's key in the setting `api_keys`, where it wants one."""
TIMEOUT_S = 5.0
"""For one request; a server that hangs must not hold a task."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRun:
    """One try of a task: `try_id` is a UUID, `run_id` that of its DAG run, `partition` the day that it works on."""

    dag_id: str
    task_id: str
    run_id: str
    try_id: str
    partition: str | None = None


def emit(state: State, task: TaskRun, settings: Settings, said: str | None = None) -> None:
    """Sends the event to where `settings.openlineage` says; nothing, where it is not set.

    Raises:
        OSError: the file cannot be written.
        requests.RequestException: the server cannot be reached, or refuses.
    """
    if not settings.openlineage:
        return
    event = event_of(state, task, settings, said)
    if settings.openlineage.startswith(("http://", "https://")):
        from openlineage.client.transport.http import HttpConfig, HttpTransport, create_token_provider

        key = settings.api_keys.get(OPENLINEAGE)
        auth = create_token_provider({"type": "api_key", "apiKey": key.get_secret_value()} if key else {})
        server = HttpConfig(url=settings.openlineage, timeout=TIMEOUT_S, retry={"total": 1}, auth=auth)
        HttpTransport(server).emit(event)
        return
    from openlineage.client.transport.file import FileConfig, FileTransport

    path = settings.home / Path(settings.openlineage).expanduser()
    path.parent.mkdir(parents=True, exist_ok=True)
    FileTransport(FileConfig(log_file_path=str(path), append=True)).emit(event)


def event_of(state: State, task: TaskRun, settings: Settings, said: str | None = None) -> RunEvent:
    """The event of a task that started, ended well, or failed with a sentence."""
    from openlineage.client.event_v2 import Job, Run, RunEvent, RunState
    from openlineage.client.facet_v2 import job_type_job

    slug, _, shape = task.dag_id.partition("__")
    try:
        inputs, outputs = flow(get_use_case(slug), shape, task.task_id, settings)
    except NotFoundError:  # a DAG of the platform, which is of no use case
        inputs, outputs = [], []
    kind = job_type_job.JobTypeJobFacet(processingType="BATCH", integration="AIRFLOW", jobType="TASK")
    return RunEvent(
        eventType=RunState[state],
        eventTime=datetime.now(UTC).isoformat(),
        run=Run(runId=task.try_id, facets=_facets(task, settings, said)),
        job=Job(namespace=_namespace(settings), name=f"{task.dag_id}.{task.task_id}", facets={"jobType": kind}),
        inputs=[_dataset(one, is_input=True) for one in inputs],  # type: ignore[misc]
        outputs=[_dataset(one, is_input=False) for one in outputs],  # type: ignore[misc]
        producer=f"urn:headwater:{code_version()}",
    )


def _namespace(settings: Settings) -> str:
    return f"headwater.{settings.env}"


def _facets(task: TaskRun, settings: Settings, said: str | None) -> dict[str, RunFacet]:
    from openlineage.client.facet_v2 import error_message_run, nominal_time_run, parent_run

    namespace = _namespace(settings)
    parent = str(uuid5(NAMESPACE_URL, f"{namespace}/{task.dag_id}/{task.run_id}"))
    facets: dict[str, RunFacet] = {
        "parent": parent_run.ParentRunFacet(
            run=parent_run.Run(runId=parent), job=parent_run.Job(namespace=namespace, name=task.dag_id)
        )
    }
    if task.partition is not None:
        facets["nominalTime"] = nominal_time_run.NominalTimeRunFacet(nominalStartTime=f"{task.partition}T00:00:00Z")
    if said is not None:
        facets["errorMessage"] = error_message_run.ErrorMessageRunFacet(message=said, programmingLanguage="Python")
    return facets


def _dataset(one: DataSet, *, is_input: bool) -> Dataset:
    from openlineage.client.event_v2 import InputDataset, OutputDataset
    from openlineage.client.facet_v2 import DatasetFacet, schema_dataset

    facets: dict[str, DatasetFacet] = {}
    if one.contract is not None:
        facets["schema"] = schema_dataset.SchemaDatasetFacet(
            fields=[
                schema_dataset.SchemaDatasetFacetFields(name=column.name, type=column.type, description=column.doc)
                for column in one.contract.columns
            ]
        )
    made = InputDataset if is_input else OutputDataset
    return made(namespace=one.namespace, name=one.name, facets=facets)
