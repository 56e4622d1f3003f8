"""What the modules `source` and `model` of a use case must have, for the steps and the training to use them."""

from __future__ import annotations

import inspect
import pickle

import pandas as pd
import pytest
from conformance.cases import each_case
from sklearn.base import clone

from pipelines import registry, sampling
from pipelines.landing import Recording
from pipelines.spec import UseCase


@each_case
def test_what_is_promised_about_the_source_is_what_its_module_has(case: UseCase) -> None:
    module = registry.part(case, "source")
    assert callable(module.fetch)
    assert callable(module.parse)
    for kind, recording in module.RECORDED.items():
        assert isinstance(recording, Recording), kind
        assert len(recording.doc) > 4, kind
        # The options of `headwater bootstrap` itself come first
        assert kind not in {"train", "no-train", "cutoff", "json", "help"}, kind


@each_case
def test_what_is_promised_about_the_model_is_what_its_module_has(case: UseCase) -> None:
    module = registry.part(case, "model")
    for name in ("candidates", "baselines", "usable", "metrics", "figures", "selection_score", "decisions", "due"):
        assert callable(getattr(module, name)), name
    assert module.OUTPUTS
    assert len(set(module.OUTPUTS)) == len(module.OUTPUTS)
    assert case.gate.must_beat in inspect.getsource(module.baselines)


@each_case
def test_what_is_decided_on_a_forecast_and_what_was_due_are_of_one_kind(case: UseCase) -> None:
    module = registry.part(case, "model")
    forecast = pd.DataFrame({name: [0.0, 1.0, 0.0] for name in module.OUTPUTS}, index=[7, 3, 5])
    came = pd.DataFrame(
        {name: [0.0, 1.0, 0.0] for name in case.labels} | {case.target: [0.0, 1.0, 0.0]}, index=[7, 3, 5]
    )
    decided, due = module.decisions(forecast), module.due(came)
    assert list(decided.index) == list(due.index) == [7, 3, 5]
    assert pd.api.types.is_numeric_dtype(decided) == pd.api.types.is_numeric_dtype(due)
    assert set(decided) == set(due), "both zero and one are somebody's decision"
    assert not pd.api.types.is_numeric_dtype(due) or module.TOLERANCE > 0


@pytest.mark.parametrize("seed", [0, 7])
@each_case
def test_candidates_are_several_pipelines_that_can_be_kept_and_made_again(case: UseCase, seed: int) -> None:
    module = registry.part(case, "model")
    made, again = module.candidates(seed), module.candidates(seed)
    assert len(made) >= 2
    assert list(made) == list(again)
    for name, pipeline in made.items():
        assert [step for step, _ in pipeline.steps][-1] == "forecast", name
        assert len(pipeline.steps) >= 2, "drift is looked for in what the steps before the last one give"
        assert repr(pickle.loads(pickle.dumps(pipeline))) == repr(again[name]), name
        assert repr(clone(pipeline)) == repr(again[name]), name
        # Without the day of each row, when its label was known, or whom it is of, it can hold nothing out
        assert {"days", "known", "entities"} & set(inspect.signature(pipeline[-1].fit).parameters), name


@each_case
def test_what_is_searched_are_parameters_of_candidates_with_several_values(case: UseCase) -> None:
    module = registry.part(case, "model")
    made = module.candidates(0)
    assert set(getattr(module, "SPACES", {})) <= set(made)
    for name, pipeline in made.items():
        space = registry.space(case, name)
        assert set(space) <= set(pipeline.get_params()), name
        for parameter, values in space.items():
            assert len(set(values)) == len(values) >= 2, parameter
            clone(pipeline).set_params(**{parameter: values[0]})


@each_case
def test_no_candidate_predicts_with_threads_of_its_own(case: UseCase) -> None:
    """Their sums have no order, so that the same row would get another forecast in its last digits each time."""
    for name, pipeline in registry.part(case, "model").candidates(0).items():
        asked = {key: value for key, value in pipeline.get_params().items() if key.endswith("n_jobs")}
        assert set(asked.values()) <= {None, 1}, (name, asked)


@each_case
def test_where_a_sample_has_weights_every_candidate_asks_for_them(case: UseCase) -> None:
    if sampling.parts(case):
        for name, pipeline in registry.part(case, "model").candidates(0).items():
            assert "weights" in inspect.signature(pipeline[-1].fit).parameters, name
