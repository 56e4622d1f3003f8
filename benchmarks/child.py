"""A piece of work in a process of its own, whose seconds and peak memory are told apart from all others'.

`python -m benchmarks.child MODULE:FUNCTION ARGUMENT...` prints them as JSON.
"""

from __future__ import annotations

import importlib
import json
import re
import resource
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

MB = 1024 * 1024
PROJECT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True)
class Spent:
    """What a child took: without its imports, and the most memory it ever held (of which `before_mb` is imports)."""

    seconds: float
    peak_mb: float
    before_mb: float


def peak_mb() -> float:
    """The most memory that this process has held."""
    status = Path("/proc/self/status")
    if status.exists():  # what getrusage says is, on Linux, at least what the parent held
        found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text())
        return int(found[1]) / 1024 if found else 0.0
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used / MB if sys.platform == "darwin" else used / 1024


def spent(function: str, *arguments: object) -> Spent:
    """Runs `module:function` with arguments as text in a new process."""
    command = [sys.executable, "-m", "benchmarks.child", function, *(str(argument) for argument in arguments)]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{function} failed:\n{done.stderr[-2000:]}"
    return Spent(**json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    """Imports the module, then measures the function."""
    module, _, name = sys.argv[1].partition(":")
    function = getattr(importlib.import_module(module), name)
    before, began = peak_mb(), time.perf_counter()
    function(*sys.argv[2:])
    print(json.dumps(asdict(Spent(time.perf_counter() - began, peak_mb(), before))))


if __name__ == "__main__":
    main()
