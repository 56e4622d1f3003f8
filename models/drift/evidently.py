"""Evidently's page of two sides. Its distances are shown; whether that is drift is said by `models.drift.verdict`."""

from __future__ import annotations

import pandas as pd

MOST_ROWS = 2_000
"""Rows of each side that are drawn; of more, a sample with a fixed seed."""
NOTHING = (
    "<!doctype html><html lang='en'><body><p>No column has values on both sides: nothing is drawn.</p></body></html>"
)
NEVER = 1e9
"""Evidently's threshold: its own fixed one would call half of all calm months drift, beside a verdict that does not."""


def page(current: pd.DataFrame, reference: pd.DataFrame) -> str:
    """Evidently's whole page for numeric columns; it opens without a network.

    Without a column that can be compared, as where no reference window is there yet, it is a sentence.
    """
    from evidently import Dataset, Report
    from evidently.presets import DataDriftPreset

    # A column that is empty on one side, or never varies, cannot be compared
    names = [name for name in current if current[name].notna().any() and reference[name].nunique() > 1]
    if not names:  # Evidently divides by their number
        return NOTHING
    preset = DataDriftPreset(columns=names, num_method="wasserstein", num_threshold=NEVER)
    sides = (Dataset.from_pandas(_sampled(side[names])) for side in (current, reference))
    outcome = Report([preset]).run(*sides)
    return str(outcome.get_html_str(as_iframe=False))


def _sampled(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.sample(MOST_ROWS, random_state=0) if len(frame) > MOST_ROWS else frame
