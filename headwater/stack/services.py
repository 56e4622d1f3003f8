"""What the local stack consists of: each service's needs, how it is stopped and how one sees that it is well.

The commands are in the Procfile; here is what a Procfile cannot say.
"""

from __future__ import annotations

import shlex
import signal
import sys
from collections.abc import Iterable
from dataclasses import dataclass

from honcho.environ import parse_procfile

from pipelines.errors import StackError
from pipelines.settings import PROJECT


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A process of the stack.

    `once` is a preparation that ends by itself and then counts as fulfilled. `url_key` is the key of its address
    in `stack.env`; `health` is the path that answers there when it is well. Airflow's processes without a port report
    to the API server, where `heartbeat` names them.
    """

    name: str
    needs: tuple[str, ...] = ()
    once: bool = False
    url_key: str | None = None
    health: str | None = None
    heartbeat: str | None = None
    stop: signal.Signals = signal.SIGTERM


API = "airflow-api"
_ALL = (
    Service(name="postgres", stop=signal.SIGINT),  # SIGTERM would wait for every client to leave
    Service(name="databases", needs=("postgres",), once=True),
    Service(name="airflow-db", needs=("databases",), once=True),
    Service(name="mlflow-db", needs=("databases",), once=True),
    Service(name="sandbox", needs=("databases",), url_key="HEADWATER_SANDBOX_URL", health="/healthz"),
    Service(name="mlflow", needs=("mlflow-db",), url_key="HEADWATER_MLFLOW_URL", health="/health"),
    # Airflow's processes end their children on SIGINT; on SIGTERM some of them are left behind.
    Service(
        name=API,
        needs=("airflow-db",),
        url_key="HEADWATER_AIRFLOW_URL",
        health="/api/v2/monitor/health",
        stop=signal.SIGINT,
    ),
    Service(name="airflow-scheduler", needs=("airflow-db",), heartbeat="scheduler", stop=signal.SIGINT),
    Service(name="airflow-dag-processor", needs=("airflow-db",), heartbeat="dag_processor", stop=signal.SIGINT),
    Service(name="airflow-triggerer", needs=("airflow-db",), heartbeat="triggerer", stop=signal.SIGINT),
    # Not ready it is also where a champion cannot be loaded; the stack is well all the same.
    Service(name="serving", needs=("databases",), url_key="HEADWATER_SERVING_URL", health="/livez"),
)
SERVICES: dict[str, Service] = {service.name: service for service in _ALL}
DATABASE_OF = {"airflow-db": "airflow", "mlflow-db": "mlflow"}
"""The database that each preparation migrates."""


def commands() -> dict[str, str]:
    """The shell command of each service and preparation.

    Raises:
        StackError: the Procfile names a service that is not declared here, or lacks one that is.
    """
    found = dict(parse_procfile((PROJECT / "Procfile").read_text()).processes)
    declared = {service.name for service in _ALL if not service.once}
    if set(found) != declared:
        odd = ", ".join(sorted(set(found) ^ declared))
        raise StackError(f"Procfile and headwater/stack/services.py differ in: {odd}; name each in both.")
    python = shlex.quote(sys.executable)
    found |= {name: f"{python} -m headwater.stack.databases {of}" for name, of in DATABASE_OF.items()}
    return found


def select(names: Iterable[str] | None = None) -> list[Service]:
    """The services of these names (all by default) with everything they need, in an order that works.

    Raises:
        StackError: there is no service of that name.
    """
    wanted: set[str] = set()
    waiting = list(SERVICES if names is None else names)
    while waiting:
        name = waiting.pop()
        if name not in SERVICES:
            known = ", ".join(service.name for service in _ALL if not service.once)
            raise StackError(f"There is no service {name!r}; there is: {known}.")
        wanted.add(name)
        service = SERVICES[name]
        # Those that report through the API server cannot be seen to be well without it.
        waiting += [*service.needs, *([API] if service.heartbeat else [])]
    return [service for service in _ALL if service.name in wanted]
