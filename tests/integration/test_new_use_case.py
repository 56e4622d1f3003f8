"""A fifth use case, from `headwater new` to a champion, in a copy of the tree of which nothing else is changed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from headwater.stack.files import free_port
from pipelines import database
from pipelines.settings import PROJECT

pytestmark = pytest.mark.slow

FILLED = Path(__file__).with_name("bakeries")
"""Source, SQL and estimators of another use case than the one that the templates are of."""
LEFT_AS_IT_IS = "tides"
LEFT_OUT = shutil.ignore_patterns(
    ".git", ".venv", "var", "__pycache__", "*.egg-info", ".*_cache", "target", "logs", "build", "dist", ".env*"
)
TODAY = "2026-11-01"


@dataclass
class Tree:
    """A copy of the project, and commands that run in it with settings of their own."""

    folder: Path
    environment: dict[str, str]

    def run(self, *command: str | Path, timeout: int = 300) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done

    def headwater(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.run(sys.executable, "-m", "headwater", *arguments)


@pytest.fixture(scope="module")
def tree(
    tmp_path_factory: pytest.TempPathFactory, new_warehouse: Callable[[], str], mlflow_server: SimpleNamespace
) -> Iterator[Tree]:
    """The project as it is, with the sandbox of the copy beside it."""
    folder, port = tmp_path_factory.mktemp("tree") / "project", free_port()
    shutil.copytree(PROJECT, folder, ignore=LEFT_OUT)
    shutil.copy(PROJECT / ".env.example", folder)
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("HEADWATER_", "PYTEST_"))}
    settings = {
        "AIRFLOW_HOME": str(folder / "var" / "airflow"),
        "HEADWATER_HOME": str(folder / "var"),
        "HEADWATER_DATABASE_URL": new_warehouse(),
        "HEADWATER_MLFLOW_URL": mlflow_server.url,
        "HEADWATER_SANDBOX_URL": f"http://127.0.0.1:{port}",
    }
    found = Tree(folder, {**kept, **settings})
    found.run("git", "init", "--quiet")
    found.run("git", "add", "--all")
    author = ("-c", "user.name=tests", "-c", "user.email=tests@example.org")
    found.run("git", *author, "commit", "--quiet", "--no-gpg-sign", "--message", "as it is")
    _fill_in(found)
    sandbox = subprocess.Popen(
        [sys.executable, "-m", "sandbox", "--port", str(port), "--today", TODAY], cwd=folder, env=found.environment
    )
    try:
        _await(f"http://127.0.0.1:{port}/healthz", sandbox)
        yield found
    finally:
        sandbox.terminate()
        sandbox.wait(20)


def _fill_in(tree: Tree) -> None:
    """What docs/add-a-use-case.md says: the files, the three parts that are one's own, and the contracts."""
    tree.headwater("new", LEFT_AS_IT_IS)
    tree.headwater("new", FILLED.name, "--title", "Bakeries", "--owner", "ovens")
    for replaced in (f"dbt/models/{FILLED.name}", f"tests/unit/{FILLED.name}"):
        shutil.rmtree(tree.folder / replaced)
    shutil.copytree(FILLED, tree.folder, dirs_exist_ok=True, ignore=LEFT_OUT)
    tree.headwater("contracts", "write")
    tree.headwater("contracts", "release")


def _await(url: str, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 60
    while True:
        try:
            httpx.get(url, trust_env=False).raise_for_status()
        except httpx.HTTPError:
            assert process.poll() is None, "the sandbox ended"
            assert time.monotonic() < until, "the sandbox does not start"
            time.sleep(0.1)
        else:
            return


def test_it_conforms_and_is_as_the_house_has_it(tree: Tree) -> None:
    own = ["-k", f"{FILLED.name} or {LEFT_AS_IT_IS}"]
    command = [sys.executable, "-m", "pytest", "-q", "-m", "not slow", *own, "tests/conformance", "tests/unit/tides"]
    said = tree.run(*command).stdout
    assert int(said.splitlines()[-1].split()[0]) > 40
    ruff = Path(sys.executable).with_name("ruff")
    tree.run(ruff, "check", "--no-cache", ".")
    tree.run(ruff, "format", "--check", "--no-cache", ".")
    tree.run(Path(sys.executable).with_name("lint-imports"), "--no-cache")


def test_airflow_has_its_dags(tree: Tree) -> None:
    script = (
        "import runpy, sys; from airflow.sdk import DAG; sys.path += ['dags', 'plugins']\n"
        "for name in ('ingest', 'train', 'score', 'recompute', 'audit', 'skew'):\n"
        "    found = runpy.run_path(f'dags/{name}.py').values()\n"
        "    print(*[dag.dag_id for dag in found if isinstance(dag, DAG)])"
    )
    found = set(tree.run(sys.executable, "-c", script).stdout.split())
    shapes = ("ingest", "train", "score", "recompute", "audit", "skew")
    assert {f"{slug}__{shape}" for slug in (FILLED.name, LEFT_AS_IT_IS) for shape in shapes} <= found


def test_its_days_go_from_the_upstream_to_the_features(tree: Tree) -> None:
    # Both in one process, since most of its time is spent on importing
    script = (
        "import sys\nfrom headwater.cli import app\nfor slug in sys.argv[1:]:\n"
        "    app(['run', slug, '--from', '2026-01-01', '--to', '2026-10-31', '--json'], standalone_mode=False)"
    )
    said = tree.run(sys.executable, "-c", script, FILLED.name, LEFT_AS_IT_IS).stdout
    told = [step for steps in _documents(said) for step in steps]
    assert {step["dataset"] for step in told if step["step"] == "load"} == {"shops", "sales", "readings"}
    assert not any(step.get("quarantined") for step in told)
    url = tree.environment["HEADWATER_DATABASE_URL"]
    for slug, entities in ((FILLED.name, 4), (LEFT_AS_IT_IS, 3)):
        sql = f"select count(*) as rows, max(day)::text as day from {slug}.features where day >= '2026-01-01'"
        assert database.query(url, sql) == [{"rows": entities * 304, "day": "2026-10-31"}]


def _documents(said: str) -> Iterator[list[dict[str, Any]]]:
    """JSON documents, one after the other."""
    decoder, said = json.JSONDecoder(), said.strip()
    while said:
        document, end = decoder.raw_decode(said)
        yield document
        said = said[end:].strip()


def test_a_job_of_slurm_trains_it_and_makes_it_champion(tree: Tree) -> None:
    job = tree.folder / "var" / "job.sh"
    written = tree.headwater("slurm", "train", FILLED.name, "--cpus", "2", "--out", str(job))
    assert "loopback" in written.stderr
    assert tree.environment["HEADWATER_DATABASE_URL"] not in job.read_text()
    tree.environment |= {"SLURM_JOB_ID": "77", "SLURM_CPUS_PER_TASK": "2", "SLURM_JOB_NAME": "x"}
    done = tree.run("bash", job, timeout=600)
    assert done.stdout.startswith("job 77 on ")
    assert "version 1 is champion" in done.stderr
    assert "roc_auc" in done.stdout


def test_nothing_of_the_core_was_changed_by_all_that(tree: Tree) -> None:
    changed = tree.run("git", "status", "--porcelain", "--untracked-files=all").stdout.splitlines()
    others = [line for line in changed if not line.startswith("??")]
    assert others == []
    paths = [line.removeprefix("?? ") for line in changed]
    assert {path for path in paths if FILLED.name not in path and LEFT_AS_IT_IS not in path} == set()
    assert any(path.startswith(f"contracts/{FILLED.name}/") for path in paths)
