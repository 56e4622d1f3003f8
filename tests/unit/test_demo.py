"""What the demo derives of a use case; that it runs is seen by running it."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import date
from unittest.mock import MagicMock

import pytest
from typer.testing import CliRunner

from headwater import demo
from headwater.cli import app
from headwater.commands import models
from headwater.stack import control
from models import drift
from pipelines.errors import NotFoundError
from pipelines.registry import get_use_case

EQUITIES, FLOOD = get_use_case("equities"), get_use_case("flood")


def test_the_day_to_run_is_the_newest_on_which_data_is_expected() -> None:
    sunday = date(2024, 7, 7)
    assert demo._newest_with_data(EQUITIES, sunday) == date(2024, 7, 5)
    assert demo._newest_with_data(FLOOD, sunday) == sunday


def test_what_is_shown_is_the_entity_with_the_highest_last_number() -> None:
    def answer(entity: str, chance: float) -> dict[str, object]:
        outputs = {"discharge_m3s": 100.0 - chance, "flood_probability": chance, "reasons": "rain"}
        return {"entity": entity, "day": date(2024, 7, 5), "outputs": outputs}

    assert demo._most_at_risk(FLOOD, [answer("a", 0.1), answer("b", 0.7)]) == ("b", date(2024, 7, 5))
    with pytest.raises(NotFoundError, match="There is no prediction of flood; see its DAG flood__score"):
        demo._most_at_risk(FLOOD, [])


def test_an_unknown_use_case_is_refused_before_anything_starts() -> None:
    answer = CliRunner().invoke(app, ["demo", "nowhere"])
    assert isinstance(answer.exception, NotFoundError)


@pytest.mark.parametrize("local", [True, False])
def test_a_login_is_shown_on_the_machine_of_the_local_stack_alone(
    local: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = {"entity": "a", "day": date(2024, 7, 5), "outputs": {"p": 0.5}, "prediction_id": "1"}
    for module, name, given in (
        (control, "up", None), (demo, "_bring_history", None), (demo, "Airflow", nullcontext(MagicMock())),
        (demo, "_train", None), (demo, "_ingest_and_score", None), (demo, "_await_service", None),
        (demo, "_newest_answers", [answer]), (models, "ask", {"p": 0.5}), (models, "print_drift", None),
        (drift, "newest", None), (demo, "_links", {"MLflow": "http://x"}),
        (demo, "_model", {"version": 1, "candidate": "c", "cutoff": "2024-01-01", "metrics": {}, "baselines": {}}),
        (demo, "_login", {"user": "admin", "password": "a-secret"}),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, lambda *args, given=given, **named: given)
    demo.show(demo.run(FLOOD, print, local=local))
    assert ("a-secret" in capsys.readouterr().out) is local
