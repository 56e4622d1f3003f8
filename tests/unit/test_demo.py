"""What the demo derives of a use case; that it runs is seen by running it."""

from __future__ import annotations

from datetime import date

import pytest
from typer.testing import CliRunner

from headwater import demo
from headwater.cli import app
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
