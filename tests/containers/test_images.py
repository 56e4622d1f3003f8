"""The two images, by themselves."""

from __future__ import annotations

import json

import pytest

from tests.containers import bases
from tests.containers.engine import Engine
from tests.containers.stack import PLANTED

pytestmark = [pytest.mark.containers, pytest.mark.slow, pytest.mark.timeout(7200)]
IMAGES = ("headwater-airflow:test", "headwater-serving:test")
MOST_MB = {"headwater-airflow:test": 1900, "headwater-serving:test": 780}
"""With Debian's Python below them; what grows beyond it is looked at before it is shipped."""


def _in(docker: Engine, image: str, script: str) -> str:
    return docker.run("run", "--rm", "--network=none", "--read-only", "--entrypoint=sh", image, "-c", script)


@pytest.mark.parametrize("image", IMAGES)
@pytest.mark.usefixtures("images")
class TestBothImages:
    def test_it_runs_as_an_account_without_rights_and_says_how_it_is(self, docker: Engine, image: str) -> None:
        (found,) = json.loads(docker.run("inspect", image))
        config = found["Config"]
        assert config["User"] == "10001:10001"
        assert config["Healthcheck"]["Test"][0] == "CMD"
        for name, value in (("title", "Headwater"), ("version", "test"), ("base.name", bases.NAMES["python"])):
            assert config["Labels"][f"org.opencontainers.image.{name}"] == value
        assert found["Size"] / 1e6 < MOST_MB[image]

    def test_there_is_nothing_in_it_that_builds(self, docker: Engine, image: str) -> None:
        # pip is in the public base image; it is not in the environment that runs
        tools = ("gcc", "cc", "make", "git", "curl", "/opt/venv/bin/pip", "/opt/venv/bin/uv")
        assert _in(docker, image, f"for tool in {' '.join(tools)}; do command -v $tool; done; true") == ""

    def test_no_file_of_ours_can_be_written_by_whom_it_runs_as(self, docker: Engine, image: str) -> None:
        assert _in(docker, image, "find /opt -writable ! -type l | head -3") == ""

    def test_no_time_of_building_is_in_its_files(self, docker: Engine, image: str) -> None:
        changed = "/opt /var/lib/headwater /etc/passwd /etc/shadow /etc/group /etc/gshadow"
        assert _in(docker, image, f"find {changed} ! -type l -newermt 2026-01-02 | head -3") == ""
        assert _in(docker, image, "ls -A /mnt; ls -d /built 2>/dev/null || true") == ""

    def test_its_modules_are_compiled(self, docker: Engine, image: str) -> None:
        script = "cd /opt/headwater && ls models/__pycache__/*.pyc pipelines/__pycache__/*.pyc | wc -l"
        assert int(_in(docker, image, script)) > 40

    def test_no_secret_is_in_its_layers(self, docker: Engine, image: str) -> None:
        history = docker.run("history", "--no-trunc", "--format", "{{.CreatedBy}}", image)
        assert "PASSWORD" not in history
        # The sources that were built had some (see the fixture `built`)
        assert _in(docker, image, "find /opt/headwater -name '.env*' -o -name '.git'") == ""
        assert _in(docker, image, f"grep -rlF {PLANTED} /opt/headwater /var/lib /etc 2>/dev/null || true") == ""


@pytest.mark.usefixtures("images")
def test_the_service_comes_without_airflow_dbt_and_mlflow(docker: Engine) -> None:
    listed = _in(docker, "headwater-serving:test", "ls /opt/venv/lib/python3.13/site-packages /opt/headwater")
    assert "bentoml" in listed
    for name in ("airflow", "dbt", "mlflow", "polars", "deltalake", "plugins"):
        assert name not in listed.split()


@pytest.mark.usefixtures("images")
def test_what_backs_up_the_database_is_there_and_no_server_of_it(docker: Engine) -> None:
    script = "from headwater.backup.programs import find; print(*(find(one, 17) for one in ('pg_dump', 'pg_restore')))"
    found = _in(docker, "headwater-airflow:test", f'python -c "{script}" && find /opt/venv -path "*/bin/postgres"')
    assert [path.rpartition("/")[2] for path in found.split()] == ["pg_dump", "pg_restore"]


@pytest.mark.usefixtures("images")
def test_a_program_without_its_passwords_says_which_one_it_lacks(docker: Engine) -> None:
    for image, command, lacks in (
        ("headwater-serving:test", (), "HEADWATER_DATABASE_URL"),
        ("headwater-airflow:test", ("airflow", "scheduler"), "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"),
        ("headwater-airflow:test", ("mlflow",), "MLFLOW_DATABASE_URL"),
    ):
        said = docker.run("run", "--rm", "--network=none", image, *command, check=False)
        assert lacks in said
        assert "Traceback" not in said
