"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

from headwater.stack.pgsql import VERSION

PACKAGES = ("polars", "pyarrow", "psycopg2-binary", "adbc-driver-postgresql", "deltalake", "numpy", "pandas")
PEERS = ("dlt", "pandera", "apache-airflow-providers-postgres", "sqlalchemy")
SERVING = (
    "bentoml",
    "fastapi",
    "uvicorn",
    "uvloop",
    "pydantic",
    "msgspec",
    "mlflow",
    "onnxruntime",
    "scikit-learn",
    "numpy",
    "pandas",
)


def machine(packages: Sequence[str] = (*PACKAGES, *PEERS)) -> dict[str, Any]:
    """Processor, cores, memory, system and versions."""
    return {
        "at": datetime.now(UTC).date().isoformat(),
        "processor": _processor(),
        "cores": psutil.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9),
        "load": round(os.getloadavg()[0], 1),
        "system": _system(),
        "python": platform.python_version(),
        "postgres": VERSION,
        "packages": {name: _version(name) for name in packages},
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists() and (found := re.search(r"model name\s*: (.+)", info.read_text())):
        return found[1]
    return platform.processor() or platform.machine()


def _system() -> str:
    """With the release's first two numbers: what follows them names a build, not what the figures hang on."""
    found = re.match(r"\d+(\.\d+)?", platform.release())
    return f"{platform.system()} {found[0] if found else ''}".strip()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def sentence(found: dict[str, Any]) -> str:
    """The machine in a sentence, and the versions in another."""
    packages = ", ".join(f"{name} {number}" for name, number in found["packages"].items() if number)
    load = f", whose load was {found['load']} at the start" if "load" in found else ""
    return (
        f"Measured on {found['at']} on {found['cores']} cores ({found['processor']}), {found['memory_gb']} GB, "
        f"{found['system']}{load}. PostgreSQL {found['postgres']}, "
        f"Python {found['python']}, {packages}."
    )
