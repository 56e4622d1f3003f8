"""The `view.py` of each use case names what its model and its features have."""

from __future__ import annotations

from conformance.cases import each_case, feature_columns

from pipelines import registry
from pipelines.spec import UseCase
from pipelines.views import Ranking, View


@each_case
def test_a_view_shows_answers_of_the_model_and_columns_of_the_features(case: UseCase) -> None:
    view = registry.view(case)
    outputs = {*registry.part(case, "model").OUTPUTS, *registry.texts(case)}
    columns = {column["name"] for column in feature_columns(case)}
    for panel in view.of_entity:
        assert {panel.value, panel.low, panel.high} - {None} <= outputs, panel.title
        assert {panel.column, panel.threshold} - {None} <= columns, panel.title
        assert panel.value or panel.column, panel.title
        assert (panel.low is None) == (panel.high is None), panel.title
    for one in view.of_all:
        named = {one.value, *(one.texts if isinstance(one, Ranking) else ())}
        assert named <= outputs, one.title


@each_case
def test_a_use_case_without_a_view_has_an_empty_one(case: UseCase, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(registry, "USE_CASES", registry.USE_CASES / "nowhere")
    assert registry.view(case) == View()
