"""Old logs go, young ones stay, and one that a service holds open is cut in its place."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipelines import logs
from pipelines.settings import Settings

NOW = datetime(2026, 11, 30, 3, 15, tzinfo=UTC)
RUN = "airflow/logs/dag_id=flood__ingest/run_id=one/task_id=load"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path)


def _log(settings: Settings, name: str, days: float, text: str = "said\n") -> Path:
    path = settings.home / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return _aged(path, days)


def _aged(path: Path, days: float) -> Path:
    at = (NOW - timedelta(days=days)).timestamp()
    os.utime(path, (at, at), follow_symlinks=False)
    return path


def test_logs_of_tasks_and_of_the_dag_processor_go_after_thirty_days(settings: Settings) -> None:
    old = [
        _log(settings, f"{RUN}/attempt=1.log", 31),
        _log(settings, "airflow/logs/dag_processor/2026-10-01/x.log", 60),
    ]
    young = [_log(settings, f"{RUN}/attempt=2.log", 29), _log(settings, "airflow/logs/dag_processor/today/x.log", 0)]
    assert logs.tidy(settings, NOW) == logs.Tidied(deleted=2, cut=0, bytes=10)
    assert not any(path.exists() for path in old)
    assert all(path.exists() for path in young)


def test_how_many_days_is_a_setting(settings: Settings) -> None:
    path = _log(settings, f"{RUN}/attempt=1.log", 8)
    assert logs.tidy(settings, NOW).deleted == 0
    assert logs.tidy(settings.model_copy(update={"log_days": 7}), NOW).deleted == 1
    assert not path.exists()


def test_an_old_folder_that_is_left_empty_goes_and_one_that_was_just_made_stays(settings: Settings) -> None:
    path = _log(settings, f"{RUN}/attempt=1.log", 31)
    fresh = settings.home / "airflow/logs/dag_id=flood__ingest/run_id=two"
    fresh.mkdir()
    for folder in (path.parent, path.parent.parent):
        _aged(folder, 31)
    logs.tidy(settings, NOW)
    assert not path.parent.parent.exists()
    assert fresh.is_dir()
    assert (settings.home / "airflow/logs").is_dir()


def test_nothing_else_of_the_home_folder_is_touched(settings: Settings) -> None:
    kept = [_log(settings, name, 400) for name in ("lake/landing/x.json", "reports/flood/drift.html", "stack.env",
                                                   "airflow/passwords.json", "mlflow/artifacts/model")]  # fmt: skip
    outside = _log(settings, "lake/outside.log", 400)
    link = settings.home / "airflow/logs/latest"
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(outside.parent, target_is_directory=True)
    _aged(link, 400)
    logs.tidy(settings, NOW)
    assert all(path.exists() for path in (*kept, outside))


def test_a_log_that_is_too_large_keeps_its_end_and_its_writer_goes_on(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "MOST_BYTES", 1000)
    monkeypatch.setattr(logs, "KEPT_BYTES", 100)
    path = _log(settings, "logs/mlflow.log", 0, "")
    served = _log(settings, "bentoml/logs/serving.log", 0, "short\n")
    with path.open("a") as writer:
        writer.writelines(f"line {number}\n" for number in range(200))
        writer.flush()
        assert logs.tidy(settings, NOW).cut == 1
        writer.write("after\n")
    lines = path.read_text().splitlines()
    assert lines[-2:] == ["line 199", "after"]
    assert all(line.startswith("line ") for line in lines[:-1])
    assert path.stat().st_size < 120
    assert served.read_text() == "short\n"


def test_where_there_are_no_logs_there_is_nothing_to_do(settings: Settings) -> None:
    assert logs.tidy(settings, NOW) == logs.Tidied(0, 0, 0)


def test_a_service_that_seldom_writes_keeps_the_file_that_it_holds_open(settings: Settings) -> None:
    held = [_log(settings, name, 400) for name in ("logs/supervisor.log", "bentoml/logs/serving.log")]
    gone = [_log(settings, f"bentoml/logs/{name}-headwater-flood-v1.log", 31) for name in ("build", "smoke")]
    assert logs.tidy(settings, NOW) == logs.Tidied(deleted=2, cut=0, bytes=10)
    assert all(path.exists() for path in held)
    assert not any(path.exists() for path in gone)
