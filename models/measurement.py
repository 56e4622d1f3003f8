"""All that is measured on the hold-out before the gate is asked: over all, by segment, and against the champion."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from models import bootstrap, evaluate, flips, segments
from models.bootstrap import Draws
from models.champion import find_champion
from models.evaluate import Evaluation, plain
from models.gate import LEAST_COMPARABLE_ROWS, Clause, Verdict, Versus, judge
from models.score import load_champion
from models.segments import Measured
from models.snapshot import Snapshot, features, read, split
from pipelines import registry
from pipelines.settings import Settings
from pipelines.spec import UseCase


@dataclass(frozen=True, slots=True)
class Findings:
    """What was found of a challenger; `flips` and `flipped` are tables, empty where there is no champion."""

    evaluation: Evaluation
    baselines: dict[str, Evaluation]
    draws: dict[str, Draws]
    segments: tuple[Measured, ...]
    versus: Versus | None
    flips: pd.DataFrame
    flipped: pd.DataFrame

    def verdict(self, use_case: UseCase, clauses: tuple[Clause, ...]) -> Verdict:
        """What the gate says of it."""
        gate = use_case.gate
        return judge(gate, self.evaluation.overall, self.baselines[gate.must_beat].overall, self.versus, clauses)

    def to_dict(self, use_case: UseCase) -> dict[str, Any]:
        """As plain values; what is undefined is None."""
        level = use_case.intervals.level
        return {
            "challenger": self.evaluation.to_dict(),
            "baselines": {name: found.to_dict() for name, found in self.baselines.items()},
            "level": level,
            "intervals": {name: _intervals(draws, level) for name, draws in self.draws.items()},
            "segments": [plain(asdict(one)) for one in self.segments],
            "champion": _versus(use_case, self.versus) if self.versus is not None else None,
            "flips": self.flips.to_dict("records"),
        }


def find(
    use_case: UseCase,
    settings: Settings,
    train: pd.DataFrame,
    holdout: pd.DataFrame,
    forecast: pd.DataFrame,
    *,
    alone: bool = False,
) -> Findings:
    """Measures a forecast of the hold-out beside the baselines, and beside the champion where there is one.

    Found `alone`, it is what the rows and the model say, whoever is champion.
    """
    baselines = registry.part(use_case, "model").baselines(holdout, train)
    must_beat = baselines[use_case.gate.must_beat]
    versus, changed, listed = _nobody() if alone else _against_champion(use_case, settings, holdout, forecast)
    return Findings(
        evaluate.measure(use_case, holdout, forecast),
        {name: evaluate.measure(use_case, holdout, found) for name, found in baselines.items()},
        bootstrap.draw(use_case, holdout, {"challenger": forecast, use_case.gate.must_beat: must_beat}),
        segments.measure(use_case, holdout, forecast, must_beat),
        versus,
        changed,
        listed,
    )


def _nobody() -> tuple[Versus | None, pd.DataFrame, pd.DataFrame]:
    return None, pd.DataFrame(columns=list(flips.COLUMNS)), pd.DataFrame()


def _against_champion(
    use_case: UseCase, settings: Settings, holdout: pd.DataFrame, forecast: pd.DataFrame
) -> tuple[Versus | None, pd.DataFrame, pd.DataFrame]:
    """Both on the rows of the hold-out that the champion was not trained on either; and whose decisions change."""
    nothing = pd.DataFrame(columns=list(flips.COLUMNS))
    champion = find_champion(use_case, settings)
    if champion is None:
        return _nobody()
    unseen = unseen_by(Snapshot.from_tags(champion.tags), use_case, settings, holdout)
    rows, version = holdout[unseen], int(champion.version)
    if len(rows) < LEAST_COMPARABLE_ROWS:
        return Versus(version, len(rows)), nothing, pd.DataFrame()
    model, _ = load_champion(use_case, settings, champion)
    ours, theirs = forecast[unseen], model.predict(features(use_case, rows))
    sides = {"challenger": ours, "champion": theirs}
    versus = Versus(
        version,
        len(rows),
        {name: evaluate.overall(use_case, rows, side) for name, side in sides.items()},
        bootstrap.draw(use_case, rows, sides),
        segments.compare(use_case, rows, ours, theirs),
    )
    table = flips.flipped(use_case, rows, ours, theirs)
    return versus, flips.by_segment(use_case, rows, table), flips.listed(use_case, rows, table)


def unseen_by(champions: Snapshot, use_case: UseCase, settings: Settings, holdout: pd.DataFrame) -> pd.Series:
    """Rows from the champion's own cut-off on, and those of entities that it was not trained on at all.

    All of its training labels were known before that cut-off, however far ahead a label looks. Where it was parted by
    entity, only those that it was not trained on.
    """
    if champions.holdout_share:
        trained, _ = split(champions, use_case, read(use_case, champions, settings))
        return ~holdout[use_case.entity].isin(trained[use_case.entity].unique())
    after = pd.to_datetime(holdout[use_case.day_column]) >= pd.Timestamp(champions.cutoff)
    if after.all():
        return after
    entities = read(use_case, champions, settings)[use_case.entity].unique()
    return after | ~holdout[use_case.entity].isin(entities)


def _versus(use_case: UseCase, versus: Versus) -> dict[str, Any]:
    level, told = use_case.intervals.level, versus.draws
    apart = {
        name: bootstrap.difference(told["challenger"], told["champion"], name, level)
        for name in versus.metrics.get("challenger", {})
        if name != "rows"
    }
    return {
        "version": versus.version,
        "rows": versus.rows,
        **plain(versus.metrics),
        "differences": {name: plain(asdict(one)) for name, one in apart.items()},
        "segments": [plain(asdict(one)) for one in versus.segments],
    }


def _intervals(draws: Draws, level: float) -> dict[str, dict[str, Any]]:
    return {name: plain(asdict(one)) for name, one in bootstrap.intervals(draws, level).items()}
