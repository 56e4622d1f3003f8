"""Segments as the spec declares them, and whose decisions flip in each."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from models import flips, segments
from models.segments import LEAST_ROWS, MOST_SEGMENTS, assign, bands, each
from pipelines.registry import get_use_case
from pipelines.spec import Segmentation

CHURN, TAXI = get_use_case("churn"), get_use_case("taxi")
BY_CONTRACT = replace(CHURN, segments=(Segmentation(name="contract", column="contract"),))
MILES = Segmentation(name="miles", column="distance_miles", edges=(2.0, 10.0))


def test_bands_are_named_by_their_edges_or_by_their_labels() -> None:
    frame = pd.DataFrame({"distance_miles": [0.5, 2.0, 9.9, 10.0, np.nan]})
    assert list(assign(MILES, frame)) == ["below 2", "2 to 10", "2 to 10", "10 and more", "unknown"]
    named = replace(MILES, labels=("short", "middling", "long"))
    assert list(assign(named, frame)) == ["short", "middling", "middling", "long", "unknown"]
    assert bands(replace(MILES, edges=(0.0,))) == ("below 0", "0 and more")


@pytest.mark.parametrize("values", [[True, False, None], [1.0, 0.0, np.nan]])
def test_truth_values_are_yes_and_no(values: list[object]) -> None:
    told = assign(Segmentation(name="senior", column="is_senior"), pd.DataFrame({"is_senior": values}))
    assert list(told) == ["yes", "no", "unknown"]


def test_bands_come_in_their_order_and_of_many_values_those_with_the_most_rows() -> None:
    miles = np.repeat([11.0, 1.0, 5.0], 60)
    ordered = [
        segment for _, segment, _ in each(replace(TAXI, segments=(MILES,)), pd.DataFrame({"distance_miles": miles}))
    ]
    assert ordered == ["below 2", "2 to 10", "10 and more"]
    names = [f"c{at:02}" for at in range(30) for _ in range(1 + at)]
    found = list(each(BY_CONTRACT, pd.DataFrame({"contract": names})))
    assert [segment for _, segment, _ in found] == [f"c{at:02}" for at in range(30 - MOST_SEGMENTS, 30)]
    assert [len(rows) for _, _, rows in found] == list(range(31 - MOST_SEGMENTS, 31))


def _customers() -> tuple[pd.DataFrame, pd.DataFrame]:
    """120 customers by the month, 60 for a year, 20 for two; every fourth leaves."""
    contract = ["month"] * 120 + ["year"] * 60 + ["two years"] * 20
    frame = pd.DataFrame({"customer_id": [f"c{at:03}" for at in range(200)], "day": "2024-01-31", "contract": contract})
    frame["is_churn_next_month"] = np.arange(200) % 4 == 0
    said = pd.DataFrame({"churn_probability": 0.1, "is_offer_worthwhile": 0.0}, index=frame.index)
    return frame.set_index(frame.index * 2 + 5), said.set_index(frame.index * 2 + 5)


def test_a_segment_of_few_rows_is_counted_and_not_measured() -> None:
    frame, said = _customers()
    found = {one.segment: one for one in segments.measure(BY_CONTRACT, frame, said, said)}
    assert {name: one.rows for name, one in found.items()} == {"month": 120, "year": 60, "two years": 20}
    assert LEAST_ROWS > 20
    assert np.isnan(found["two years"].challenger)
    assert found["month"].challenger == 0.5
    compared = segments.compare(BY_CONTRACT, frame, said, said)
    assert [one.segment for one in compared] == ["month", "year"]


def test_flips_are_counted_by_segment_with_who_was_right() -> None:
    frame, theirs = _customers()
    ours = theirs.copy()
    ours.iloc[:10, ours.columns.get_loc("is_offer_worthwhile")] = 1.0  # three of these ten leave
    table = flips.flipped(BY_CONTRACT, frame, ours, theirs)
    found = flips.by_segment(BY_CONTRACT, frame, table)
    assert list(found.columns) == list(flips.COLUMNS)
    assert found.to_dict("records") == [
        {
            "segmentation": name, "segment": segment, "from": "no offer", "to": "offer",
            "rows": rows, "flips": 10, "share": 10 / rows, "better": 3, "worse": 7,
        }
        for name, segment, rows in (("all", "all", 200), ("contract", "month", 120))
    ]  # fmt: skip
    listed = flips.listed(BY_CONTRACT, frame, table)
    assert list(listed["customer_id"]) == [f"c{at:03}" for at in range(10)]
    assert list(listed["is_better"]) == [float(at % 4 == 0) for at in range(10)]
    assert set(listed["challenger"]) == {"offer"}


def test_where_nothing_flips_the_table_says_so_in_one_row() -> None:
    frame, said = _customers()
    found = flips.by_segment(BY_CONTRACT, frame, flips.flipped(BY_CONTRACT, frame, said, said))
    assert [(row.segmentation, row.rows, row.flips) for row in found.itertuples()] == [("all", 200, 0)]


def test_quotes_flip_beyond_the_tolerance_and_the_nearer_one_is_the_better() -> None:
    case = replace(TAXI, segments=())
    frame = pd.DataFrame({"trip_id": list("abcd"), "day": "2024-01-01", "fare_usd": [10.0, 10.0, 10.0, 10.0]})
    theirs = pd.DataFrame({"fare_usd": [10.0, 10.0, 14.0, 8.0]})
    ours = pd.DataFrame({"fare_usd": [11.9, 12.1, 10.0, 12.5]})
    table = flips.flipped(case, frame, ours, theirs)
    assert list(table["is_flipped"]) == [False, True, True, True]
    found = flips.by_segment(case, frame, table).set_index("to")
    assert (found.loc["higher", "flips"], found.loc["higher", "better"], found.loc["higher", "worse"]) == (2, 0, 2)
    assert (found.loc["lower", "flips"], found.loc["lower", "better"]) == (1, 1)
