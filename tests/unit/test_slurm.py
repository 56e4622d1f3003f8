"""A script for SLURM is one that bash reads, runs the same entry point, and knows no secret."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest
from typer.testing import CliRunner

from headwater import slurm
from headwater.cli import app
from headwater.effective import effective
from pipelines.errors import SettingsError
from pipelines.registry import get_use_case
from pipelines.settings import PROJECT, get_settings

FLOOD = get_use_case("flood")
JOB = slurm.Job(time="01:00:00", mem="2G", cpus=2)
ODD = 'it\'s a $(touch /nowhere) "home"; é'


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No setting but a home."""
    for key in [key for key in os.environ if key.startswith(("HEADWATER_", "SLURM_"))]:
        monkeypatch.delenv(key)
    monkeypatch.setenv("HEADWATER_HOME", str(tmp_path))
    get_settings.cache_clear()
    yield
    get_settings.cache_clear()


def bash(script: str, *options: str, **extra: str) -> subprocess.CompletedProcess[str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("HEADWATER_")}
    return subprocess.run(
        ["bash", *options], input=script, env={**kept, **extra}, capture_output=True, text=True, timeout=60, check=False
    )


def test_the_script_is_bash_and_its_directives_come_before_its_first_command() -> None:
    job = slurm.Job(time="1-12:00", mem="500M", cpus=8, partition="gpu,long", account="water-2")
    script = slurm.train_script(FLOOD, job, effective(), date(2024, 10, 1))
    assert bash(script, "-n").returncode == 0
    lines = script.splitlines()
    assert lines[0] == "#!/usr/bin/env bash"
    asked = [line.removeprefix("#SBATCH --") for line in lines if line.startswith("#SBATCH")]
    assert asked == [
        "job-name=headwater-train-flood", "time=1-12:00", "mem=500M", "cpus-per-task=8", "partition=gpu,long",
        "account=water-2", "output=%x-%j.log",
    ]  # fmt: skip
    assert lines[1 : 1 + len(asked)] == [f"#SBATCH --{one}" for one in asked]
    assert "set -euo pipefail" in lines
    assert lines[-1].startswith("exec ")
    assert lines[-1].endswith(" -m headwater train flood --cutoff=2024-10-01")
    assert f"cd {PROJECT}" in lines


def test_settings_of_the_shell_arrive_as_they_are_and_secrets_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADWATER_HOME", f"/tmp/{ODD}")
    monkeypatch.setenv("HEADWATER_LAKE_OPTIONS__AWS_REGION", "eu west\nnorth")
    monkeypatch.setenv("HEADWATER_DATABASE_URL", "postgresql://me:hunter2@far/d")
    monkeypatch.setenv("HEADWATER_API_KEYS", '{"usgs": "hunter2"}')
    script = slurm.train_script(FLOOD, JOB, effective())
    assert "hunter2" not in script
    before, _, _ = script.rpartition("exec ")
    told = before + 'printf "%s|" "$HEADWATER_HOME" "$HEADWATER_LAKE_OPTIONS__AWS_REGION" "$OMP_NUM_THREADS"'
    done = bash(told, HEADWATER_DATABASE_URL="x", HEADWATER_API_KEYS="y", SLURM_CPUS_PER_TASK="3", SLURM_JOB_ID="77")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("job 77 on ")
    assert done.stdout.partition("\n")[2] == f"/tmp/{ODD}|eu west\nnorth|3|"
    lacking = bash(told, HEADWATER_API_KEYS="y")
    assert lacking.returncode != 0
    assert "HEADWATER_DATABASE_URL: may hold a secret, and is not in this script" in lacking.stderr


def test_the_script_runs_the_entry_point_itself(tmp_path: Path) -> None:
    script = slurm.train_script(FLOOD, JOB, effective())
    done = bash(script, SLURM_JOB_ID="77", SLURM_CPUS_PER_TASK="1")
    assert done.returncode == 1
    assert done.stdout.startswith("job 77 on ")
    # It got as far as asking for the features that are not there
    assert "Error: HEADWATER_DATABASE_URL is not set and no local stack is running" in done.stderr


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"time": "soon"}, "is no time limit"),
        ({"time": "00:00:00"}, "is no time limit"),
        ({"time": "1:99"}, "is no time limit"),
        ({"time": "10\n#SBATCH --uid=0"}, "is no time limit"),
        ({"mem": "8 GB"}, "is no amount of memory"),
        ({"mem": "0"}, "is no amount of memory"),
        ({"cpus": 0}, "at least one processor"),
        ({"partition": "a b"}, "is no name of a SLURM partition"),
        ({"partition": "--uid=0"}, "is no name of a SLURM partition"),
        ({"account": "a\nb"}, "is no name of a SLURM account"),
        ({"account": ""}, "is no name of a SLURM account"),
    ],
)
def test_a_value_that_slurm_would_misread_is_refused(values: dict[str, object], sentence: str) -> None:
    with pytest.raises(SettingsError, match=sentence):
        slurm.Job(**{"time": "10", "mem": "8G", "cpus": 1, **values})  # type: ignore[arg-type]


def test_the_command_writes_to_stdout_or_a_file_and_warns_of_what_no_other_machine_reaches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADWATER_DATABASE_URL", "postgresql://me:hunter2@127.0.0.1:5/d")
    file = tmp_path / "job.sh"
    printed = CliRunner().invoke(app, ["slurm", "train", "flood", "--mem", "16G"])
    written = CliRunner().invoke(app, ["slurm", "train", "flood", "--mem", "16G", "--out", str(file)])
    assert printed.exit_code == written.exit_code == 0
    assert printed.stdout == file.read_text()
    assert os.access(file, os.X_OK)
    assert "HEADWATER_DATABASE_URL is on this machine's loopback interface" in printed.stderr
    assert "hunter2" not in printed.output + written.output
    assert CliRunner().invoke(app, ["slurm", "train", "flood", "--cutoff", "soon"]).exit_code != 0
