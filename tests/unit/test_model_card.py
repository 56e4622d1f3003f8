"""The model card's page loads nothing, lets no HTML through, and says which rows were taken and what the model is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import TransformedTargetRegressor
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from models.model_card import _sampled, html
from models.outline import outline
from models.tables import markdown
from pipelines import registry
from pipelines.registry import get_use_case, use_cases
from pipelines.spec import UseCase

FLOOD = get_use_case("flood")


def test_pictures_are_within_the_page_and_html_is_text(tmp_path: Path) -> None:
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "roc.png").write_bytes(b"a picture")
    page = html("# A & B\n\n<script>x</script>\n\n![roc](figures/roc.png)\n", tmp_path)
    assert 'src="data:image/png;base64,YSBwaWN0dXJl"' in page
    assert "<script>" not in page
    assert "<title>A &amp; B</title>" in page


def test_a_table_s_cells_stay_in_their_cells() -> None:
    table = pd.DataFrame({"said": ["a | b\nc"], "value": [0.123456], "rows": [1_234_567.0], "none": [None]})
    assert markdown(table).splitlines()[-1] == "| a \\| b c | 0.1235 | 1,234,567 | – |"
    assert markdown(pd.DataFrame({"n": range(5)}), most=3).endswith("… and 2 more.")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({}, "all rows"),
        ({"sample_rows": 5000, "sample_days": 90}, "a sample of up to 5,000 rows, of the last 90 days"),
        (
            {"sample_rows": 500, "sample_keeps": "is_flood_next"},
            "a sample of up to 500 rows, with every one to train on where is_flood_next holds",
        ),
        ({"sample_means": ("site_id",)}, "all rows, with one for those of a day that agree in site_id"),
    ],
)
def test_the_card_says_which_rows_were_taken(changed: dict[str, object], said: str) -> None:
    assert _sampled(replace(FLOOD, **changed)) == said


@pytest.mark.parametrize("use_case", use_cases().values(), ids=lambda use_case: use_case.slug)
def test_a_model_s_outline_names_each_step_once_and_is_the_same_for_the_same_model(use_case: UseCase) -> None:
    for model, again in zip(*(registry.part(use_case, "model").candidates().values() for _ in range(2)), strict=True):
        told = outline(model)
        assert told == outline(again)
        assert " at 0x" not in told
        assert [f"  {name}: {type(step).__name__}" for name, step in model.steps] == [
            line.partition("(")[0] for line in told.splitlines() if line.startswith("  ") and line[2] != " "
        ]


def test_an_outline_gives_what_is_not_at_its_default_and_functions_by_their_names() -> None:
    ridge = make_pipeline(StandardScaler(), Ridge(3.0))
    assert outline(TransformedTargetRegressor(ridge, func=np.sqrt, inverse_func=np.square)).splitlines() == [
        "TransformedTargetRegressor(func=sqrt, inverse_func=square)",
        "  regressor: Pipeline",
        "    standardscaler: StandardScaler",
        "    ridge: Ridge(alpha=3.0)",
    ]
