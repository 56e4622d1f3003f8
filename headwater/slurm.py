"""Scripts for SLURM: the same entry points, with the settings of the shell that wrote them and none of its secrets."""

from __future__ import annotations

import re
import shlex
import sys
from dataclasses import dataclass
from datetime import date

from headwater.effective import Effective, is_here
from pipelines.errors import SettingsError
from pipelines.settings import PREFIX, PROJECT
from pipelines.spec import UseCase

_TIME = re.compile(r"\d+(:[0-5]\d){0,2}|\d+-\d+(:[0-5]\d){0,2}", re.ASCII)
_MEMORY = re.compile(r"[1-9]\d*[KMGT]?", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9_][\w.,:=-]*", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What a job asks SLURM for; as `sbatch --help` has it.

    Raises:
        SettingsError: SLURM would not understand a value, or would read more than one out of it.
    """

    time: str
    mem: str
    cpus: int
    partition: str | None = None
    account: str | None = None

    def __post_init__(self) -> None:
        if not _TIME.fullmatch(self.time) or not self.time.strip("0:-"):
            raise SettingsError(f"{self.time!r} is no time limit; write it as 04:00:00, as 1-12:00, or in minutes.")
        if not _MEMORY.fullmatch(self.mem):
            raise SettingsError(f"{self.mem!r} is no amount of memory; write it as 8G or 500M.")
        if self.cpus < 1:
            raise SettingsError(f"A job needs at least one processor, and not {self.cpus}.")
        for option, name in (("partition", self.partition), ("account", self.account)):
            if name is not None and not _NAME.fullmatch(name):
                raise SettingsError(
                    f"{name!r} is no name of a SLURM {option}; `sinfo` and `sacctmgr` list those there are."
                )

    def lines(self, name: str) -> list[str]:
        """The directives of a job of that name."""
        asked = {
            "job-name": name,
            "time": self.time,
            "mem": self.mem,
            "cpus-per-task": str(self.cpus),
            "partition": self.partition,
            "account": self.account,
            # In the folder that it is submitted from: SLURM makes no folders, and a job without its log just fails
            "output": "%x-%j.log",
        }
        return [f"#SBATCH --{option}={value}" for option, value in asked.items() if value is not None]


def train_script(use_case: UseCase, job: Job, effective: Effective, cutoff: date | None = None) -> str:
    """A script that trains a use case as `headwater train` does here.

    It exports what this shell has set and is no secret. Secrets are read where the job runs: from the project's
    `.env` files, or from the environment that `sbatch` hands on, without which the script ends with a sentence.
    """
    command = [sys.executable, "-m", "headwater", "train", use_case.slug]
    command += [f"--cutoff={cutoff}"] if cutoff else []
    return "\n".join(
        [
            "#!/usr/bin/env bash",
            *job.lines(f"headwater-train-{use_case.slug}"),
            "#",
            f"# Made by `headwater slurm train {use_case.slug}`. Submit it with sbatch; it also runs without SLURM.",
            "set -euo pipefail",
            "",
            *_exports(effective),
            "# Not more threads than processors, whatever the node has",
            f'export OMP_NUM_THREADS="${{SLURM_CPUS_PER_TASK:-{job.cpus}}}"',
            f'export LOKY_MAX_CPU_COUNT="${{SLURM_CPUS_PER_TASK:-{job.cpus}}}"',
            "",
            f"cd {shlex.quote(str(PROJECT))}",
            'echo "job ${SLURM_JOB_ID:-none} on $(hostname), $(date -u +%Y-%m-%dT%H:%M:%SZ)"',
            f"exec {shlex.join(command)}",
            "",
        ]
    )


def _exports(effective: Effective) -> list[str]:
    """What the shell has set; the rest is read from files by the program itself."""
    exports = {f"{PREFIX}ENV": f"export {PREFIX}ENV={effective.settings.env}"}
    for entry in effective.entries:
        if entry.origin != "environment" or entry.given is None or entry.given in exports:
            continue
        if entry.value is not None and entry.is_whole and entry.given == entry.key:
            exports[entry.key] = f"export {entry.key}={shlex.quote(entry.value)}"
        else:
            said = "may hold a secret, and is not in this script; set it before sbatch"
            exports[entry.given] = f': "${{{entry.given}:?{said}}}"'
    return list(exports.values())


def doubts(effective: Effective) -> list[str]:
    """Why a job on another machine would fail, a sentence each."""
    url, said = effective.settings.database_url, list(effective.refused)
    if url is None:
        said.append(f"{PREFIX}DATABASE_URL is not set here; the job fails where it finds none either.")
    addresses = {"MLFLOW_URL": effective.settings.mlflow_url, "DATABASE_URL": url.get_secret_value() if url else ""}
    for name, address in addresses.items():
        if is_here(address):
            said.append(f"{PREFIX}{name} is on this machine's loopback interface, which no other machine reaches.")
    return said
