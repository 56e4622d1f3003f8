"""Every command explains itself with an example, and an error is one sentence on stderr and exit code 1."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from typer.main import get_command
from typer.testing import CliRunner

from headwater.cli import app
from models import snapshot
from models.snapshot import Extent
from pipelines.registry import get_use_case
from pipelines.window import Window

REPORTING = {"status", "config", "pools", "demo", "run", "bootstrap", "backfill", "train", "predict", "models show",
             "lineage", "models probe", "models history", "models compare", "models approve", "models reject",
             "models rollback", "keys create", "keys list", "keys revoke",
             "experiments start", "experiments stop", "experiments show",
             "report drift", "report quality", "quality", "incidents",
             "alerts", "backup", "restore", "migrate", "sources", "ledger", "dataset", "quarantine", "rebuild",
             "recompute", "nowcast", "skew", "lake compact", "lake check", "lake retain",
             "contracts show", "contracts check", "contracts write", "contracts release"}  # fmt: skip
"""Commands that tell a program something."""
SILENT = {"up", "down", "serve", "new", "slurm train"}


def _commands() -> dict[str, click.Command]:
    found: dict[str, click.Command] = {}

    def walk(command: click.Command, path: tuple[str, ...]) -> None:
        for name, child in getattr(command, "commands", {}).items():
            if getattr(child, "commands", None):
                walk(child, (*path, name))
            elif not child.hidden:
                found[" ".join((*path, name))] = child

    walk(get_command(app), ())
    return found


COMMANDS = _commands()


def test_the_commands_are_the_expected_ones() -> None:
    assert set(COMMANDS) == REPORTING | SILENT


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_help_says_what_a_command_does_and_gives_an_example_of_it(name: str) -> None:
    answer = CliRunner().invoke(app, [*name.split(), "--help"], terminal_width=200)
    assert answer.exit_code == 0
    assert f"Example: headwater {name}" in answer.output
    described = [parameter for parameter in COMMANDS[name].params if parameter.name != "help"]
    assert [parameter.name for parameter in described if not getattr(parameter, "help", None)] == []


@pytest.mark.parametrize("name", sorted(REPORTING))
def test_what_reports_can_do_so_as_json(name: str) -> None:
    assert "--json" in [option for parameter in COMMANDS[name].params for option in parameter.opts]


def test_the_group_of_commands_shows_its_help_when_nothing_is_asked() -> None:
    answer = CliRunner().invoke(app, [])
    assert "From a raw source to a served and watched model" in answer.output


def _headwater(home: Path, *arguments: str, **extra: str) -> subprocess.CompletedProcess[str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("HEADWATER_")}
    environment = {**kept, "HEADWATER_HOME": str(home), "COLUMNS": "60", **extra}
    command = [sys.executable, "-c", "from headwater.cli import main; main()", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("train nowhere", "There is no use case 'nowhere'; there is: "),
        ("run flood --from tomorrow", "'tomorrow' is not a day; write it as YYYY-MM-DD"),
        ("run flood --from 2026-03-09 --to 2026-03-01", "The window ends on 2026-03-01, before it starts"),
        ("run flood --from 2026-03-01 --step guess", "There is no step 'guess'; there is: fetch, check, load"),
        ("run flood --from 2026-03-01", "no local stack is running; start one with `headwater up`"),
        ("train flood --cutoff 1.1.2024", "'1.1.2024' is not a day"),
        ("models history nowhere", "There is no use case 'nowhere'"),
        ("models rollback flood --to yesterday", "'yesterday' is neither a version nor a time; write it as 3, or as"),
        ("models approve flood 2 --reason better", "no local stack is running; start one with `headwater up`"),
        ("predict flood --site=1", "no local stack is running; start one with `headwater up`"),
        ("predict flood --entity 1", "no local stack is running; start one with `headwater up`"),
        ("predict flood", "Name what to predict for, once: --entity NAME, or --site NAME."),
        ("predict flood --river 1", "--site NAME; '--river 1' is not understood"),
        ("predict flood --site 1 --entity 1", "once: --entity NAME, or --site NAME; '--site 1' is not"),
        ("backfill flood --from 2026-03-01 --plan", "no local stack is running; start one with `headwater up`"),
        ("backfill flood --from 2026-03-01 --to 2999-01-01", "The day 2999-01-01 has not ended yet in UTC; the last"),
        ("pools --apply", "start the stack with `headwater up`"),
        ("status", "The stack is not running; start it with `headwater up`"),
        ("serve", "no local stack is running; start one with `headwater up`"),
        ("lake check nowhere", "There is no use case 'nowhere'"),
        ("lake retain flood --apply", "Nothing is deleted without an archive; name its folder or URL with --archive"),
        ("bootstrap flood --camels", "is not understood; write --<kind> PATH"),
        ("bootstrap flood --camels /nowhere/at/all", "There is nothing at /nowhere/at/all"),
        ("contracts show nowhere", "There is no use case 'nowhere'"),
        ("new Flood", "'Flood' is no slug; write it in small letters"),
        ("new flood", "There is already a use case 'flood'; choose another slug"),
        ("slurm train nowhere", "There is no use case 'nowhere'"),
        ("slurm train flood --time soon", "'soon' is no time limit; write it as 04:00:00"),
        ("demo nowhere", "There is no use case 'nowhere'"),
        ("contracts show flood --dataset gauges", "flood has no data set 'gauges'; it has: sites, discharge"),
    ],
)
def test_an_error_is_one_sentence_on_stderr_and_exit_code_1(tmp_path: Path, arguments: str, sentence: str) -> None:
    done = _headwater(tmp_path, *arguments.split())
    assert done.returncode == 1, done.stderr
    assert done.stdout == ""
    told = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
    assert len(told) == 1, done.stderr
    assert sentence in told[0]
    assert "Traceback" not in done.stderr
    assert told[0].endswith(".")


def test_a_setting_that_is_mistyped_is_named_with_the_one_that_was_meant(tmp_path: Path) -> None:
    done = _headwater(tmp_path, "status", HEADWATER_SERVNG_URL="http://127.0.0.1:1")
    assert done.returncode == 1
    assert done.stderr == (
        "Error: Unknown setting HEADWATER_SERVNG_URL in the environment; did you mean HEADWATER_SERVING_URL?\n"
    )


def test_the_status_of_no_stack_is_an_empty_list_for_programs(tmp_path: Path) -> None:
    done = _headwater(tmp_path, "status", "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout) == []
    assert list(tmp_path.iterdir()) == []


def test_the_pools_are_shown_without_an_airflow_and_as_airflow_imports_them(tmp_path: Path) -> None:
    done = _headwater(tmp_path, "pools", "--json")
    assert done.returncode == 0, done.stderr
    pools = json.loads(done.stdout)
    assert pools["warehouse"].keys() == {"slots", "description"}
    assert {"upstream_flood_usgs", "warehouse"} <= set(pools)


def test_asking_for_help_imports_nothing_heavy(tmp_path: Path) -> None:
    script = (
        "import sys; sys.argv = ['headwater', '--help']\nfrom headwater.cli import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        "heavy = {'pandas', 'polars', 'sklearn', 'mlflow', 'bentoml', 'evidently', 'dbt', 'deltalake', 'airflow'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr.strip() == "[]"


@pytest.mark.parametrize(
    ("arguments", "entities", "where"),
    [
        ("bootstrap taxi --trips files", None, "day >= date '2014-01-01' and day + 1 <= date '2014-07-01'"),
        ("bootstrap taxi", None, "true"),
        ("bootstrap flood --camels files", ["a"], "site_id::text in ('a')"),
    ],
)
def test_a_model_of_recorded_history_is_trained_on_what_is_in_the_files(
    monkeypatch: pytest.MonkeyPatch, arguments: str, entities: list[str] | None, where: str
) -> None:
    asked: list[Extent] = []
    window = Window.parse("2014-01-01", "2014-06-30")
    monkeypatch.setattr("headwater.commands.data._bring", lambda *told: (window, entities, None))
    monkeypatch.setattr(
        "headwater.commands.models.train_now", lambda use_case, extent, quiet: asked.append(extent) or {}
    )
    assert CliRunner().invoke(app, [*arguments.split(), "--json"]).exit_code == 0
    (extent,) = asked
    assert snapshot._condition(get_use_case(arguments.split()[1]), extent) == where
