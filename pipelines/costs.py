"""What a task costs: each try a row in `ops.task_costs`, with processor time, memory and bytes, and what that is worth.

The processor's seconds are those of the task's process and of the children that it has waited for. Peak memory is the
largest resident memory of any one of them. Bytes are what they asked the system to read and to write, files and pipes
for the most part; what a driver receives from a socket is not in it (Linux, proc(5): rchar and wchar).
"""

from __future__ import annotations

import resource
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from pipelines import database
from pipelines.settings import Settings

RUNNING = "running"
"""State of a try that has not ended; or that was killed, and so told nothing."""
_IO = Path("/proc/self/io")
_MB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Task:
    """A try of a task of Airflow."""

    task_instance_id: str
    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    try_number: int


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process and its children have used so far. Bytes are None where the system does not count them."""

    cpu_seconds: float
    peak_memory_mb: float
    read_bytes: int | None
    written_bytes: int | None


@dataclass(frozen=True, slots=True)
class Rates:
    """What is paid, in one currency: an hour of a processor, of a GB of memory, and a GB read or written."""

    cpu_hour: float
    memory_gb_hour: float
    gb: float
    currency: str

    @classmethod
    def of(cls, settings: Settings) -> Rates:
        """Those of the settings."""
        return cls(settings.cost_cpu_hour, settings.cost_memory_gb_hour, settings.cost_gb, settings.cost_currency)

    def price(self, cpu_seconds: float, memory_mb_seconds: float, bytes_moved: float) -> float:
        """The price of so much; memory is counted at its peak for as long as the task ran."""
        memory_gb_hours = memory_mb_seconds / 1024 / 3600
        return self.cpu_hour * cpu_seconds / 3600 + self.memory_gb_hour * memory_gb_hours + self.gb * bytes_moved / 1e9


def usage() -> Usage:
    """What this process and the children that have ended have used since they began."""
    own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    unit = _MB if sys.platform == "darwin" else 1024
    counted: dict[str, int] = {}
    with suppress(OSError):
        for line in _IO.read_text().splitlines():
            name, _, value = line.partition(": ")
            counted[name] = int(value)
    return Usage(
        cpu_seconds=own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime,
        peak_memory_mb=max(own.ru_maxrss, children.ru_maxrss) / unit,
        read_bytes=counted.get("rchar"),
        written_bytes=counted.get("wchar"),
    )


def begin(url: str, task: Task) -> None:
    """Notes that a try has begun; one that is killed leaves this row alone.

    Raises:
        DatabaseError: Postgres cannot be reached.
    """
    database.ensure_ops(url)
    _write(url, task, RUNNING, None, None, None)


def end(url: str, task: Task, state: str, ended_at: datetime, seconds: float, used: Usage) -> None:
    """Notes what a try has used. One that waited for a person in between has run twice, and both count.

    Raises:
        DatabaseError: Postgres cannot be reached.
    """
    _write(url, task, state, ended_at, seconds, used)


def _write(
    url: str, task: Task, state: str, ended_at: datetime | None, seconds: float | None, used: Usage | None
) -> None:
    measured = asdict(used) if used else dict.fromkeys(Usage.__dataclass_fields__)
    row = asdict(task) | {"state": state, "ended_at": ended_at, "seconds": seconds} | measured
    names = ", ".join(row)
    added = ", ".join(
        f"{name} = coalesce(known.{name} + excluded.{name}, excluded.{name}, known.{name})"
        for name in ("seconds", "cpu_seconds", "read_bytes", "written_bytes")
    )
    database.query(
        url,
        f"""insert into ops.task_costs as known ({names}) values ({", ".join(f"%({name})s" for name in row)})
            on conflict (task_instance_id) do update set state = excluded.state, ended_at = excluded.ended_at, {added},
                peak_memory_mb = greatest(known.peak_memory_mb, excluded.peak_memory_mb)""",
        row,
    )
