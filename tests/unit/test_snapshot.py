"""The split in time and the columns a model may see; the lake's side of snapshots is tested with a real training."""

from __future__ import annotations

from datetime import date, timedelta

import pandas as pd
import polars as pl
import pytest

from models.snapshot import Snapshot, _default_cutoff, _hash, features, known_days, split, to_pandas
from pipelines.registry import get_use_case

FLOOD = get_use_case("flood")
FIRST = date(2020, 1, 1)


def _snapshot(cutoff: str, gap_days: int) -> Snapshot:
    return Snapshot("flood", 0, 20, "", str(FIRST), "2020-01-10", cutoff, gap_days, "all")


def _frame() -> pd.DataFrame:
    days = [FIRST + timedelta(days=day) for day in range(10) for _ in range(2)]
    return pd.DataFrame({"day": days, "site_id": ["a", "b"] * 10})


@pytest.mark.parametrize("gap_days", [0, 1, 3])
def test_the_gap_lies_between_the_training_rows_and_the_hold_out(gap_days: int) -> None:
    train, holdout = split(_snapshot("2020-01-07", gap_days), FLOOD, _frame())
    assert holdout["day"].min() == date(2020, 1, 7)
    assert train["day"].max() == date(2020, 1, 6) - timedelta(days=gap_days)
    assert len(holdout) == 8
    assert len(train) == 2 * (6 - gap_days)


def test_the_gap_of_a_use_case_keeps_the_last_label_of_training_before_the_cutoff() -> None:
    train, _ = split(_snapshot("2020-01-07", FLOOD.gap_days), FLOOD, _frame())
    assert train["day"].max() + timedelta(days=1) < date(2020, 1, 7)


EQUITIES = get_use_case("equities")


@pytest.mark.parametrize("as_stamps", [False, True])
def test_a_row_whose_label_was_not_known_before_the_cutoff_is_not_trained_on(as_stamps: bool) -> None:
    day = pd.date_range("2020-02-10", periods=30)
    # A share that is hardly traded: its fifth session after is further off than the gap
    frame = pd.DataFrame({"symbol": "A", "day": day, "label_day": day + pd.Timedelta(days=7)})
    frame.loc[3, "label_day"] = pd.Timestamp("2020-03-02")
    frame.loc[5, "label_day"] = pd.Timestamp("2020-03-20")
    frame.loc[7, "label_day"] = pd.NaT
    if not as_stamps:
        frame = frame.assign(**{name: [stamp.date() for stamp in frame[name]] for name in ("day", "label_day")})
    taken = Snapshot("equities", 0, 30, "", "2020-02-10", "2020-03-10", "2020-03-02", EQUITIES.gap_days, "all")
    train, holdout = split(taken, EQUITIES, frame)
    assert pd.to_datetime(train["label_day"]).max() < pd.Timestamp("2020-03-02")
    assert set(range(14)) - set(train.index) == {3, 5, 7}
    assert len(train) == 11
    assert pd.to_datetime(holdout["day"]).min() == pd.Timestamp("2020-03-02")


def _one_day(count: int, left: int) -> pd.DataFrame:
    churned = [number < left for number in range(count)]
    names = [f"C{number:04d}" for number in range(count)]
    return pd.DataFrame({"customer_id": names, "day": date(2017, 9, 30), "is_churn_next_month": churned})


def _parted(seed: int = 0, share: float = 0.2) -> Snapshot:
    day = "2017-09-30"
    return Snapshot("churn", 0, 1000, "", day, day, day, 1, "all", holdout_share=share, seed=seed)


def test_rows_of_one_day_are_parted_by_entity_with_each_class_in_its_share() -> None:
    frame, churn = _one_day(1000, 265), get_use_case("churn")
    train, holdout = split(_parted(), churn, frame)
    assert len(holdout) == 200
    assert holdout["is_churn_next_month"].sum() == 53
    assert sorted([*train["customer_id"], *holdout["customer_id"]]) == sorted(frame["customer_id"])
    again = split(_parted(), churn, frame.sample(frac=1, random_state=4))[1]
    assert set(again["customer_id"]) == set(holdout["customer_id"]), "whatever the order of the rows"
    other = split(_parted(seed=1), churn, frame)[1]
    assert len(set(other["customer_id"]) & set(holdout["customer_id"])) < 80


def test_how_a_hold_out_was_chosen_is_said() -> None:
    assert _parted().parted == "20% of the entities of 2017-09-30 held out"
    assert _snapshot("2020-01-07", 1).parted == "hold-out from 2020-01-07"


def test_tags_of_a_version_that_knew_no_share_are_read() -> None:
    assert Snapshot.from_tags(_parted(seed=3).to_tags()) == _parted(seed=3)
    old = {
        name: tag
        for name, tag in _snapshot("2020-01-07", 1).to_tags().items()
        if "share" not in name and "seed" not in name
    }
    assert Snapshot.from_tags(old) == _snapshot("2020-01-07", 1)


def test_no_customer_s_future_reaches_the_training_part() -> None:
    """Of each customer a row a month; a label is known a month after its row."""
    ends = pd.date_range("2024-01-31", periods=24, freq="ME")
    frame = pd.DataFrame([(f"C{number}", end.date(), (end + pd.offsets.MonthEnd()).date())
                          for number in range(5) for end in ends],
                         columns=["customer_id", "day", "label_day"])  # fmt: skip
    taken = Snapshot("churn", 0, len(frame), "", "2024-01-31", "2025-12-31", "2025-07-04", 1, "all")
    train, holdout = split(taken, get_use_case("churn"), frame)
    assert train["label_day"].max() == date(2025, 6, 30)
    assert train["day"].max() == date(2025, 5, 31)
    assert holdout["day"].min() == date(2025, 7, 31)


def test_without_a_column_for_it_a_label_is_known_on_the_next_day() -> None:
    frame = pd.DataFrame({"site_id": "a", "day": [date(2020, 2, 28), date(2020, 2, 29)]})
    assert list(known_days(FLOOD, frame)) == [pd.Timestamp("2020-02-29"), pd.Timestamp("2020-03-01")]


def test_truth_values_reach_scikit_learn_as_numbers_where_some_are_missing() -> None:
    frame = pl.DataFrame({"some": [True, None, False], "all": [True, False, True], "text": ["a", None, "b"]})
    found = to_pandas(frame)
    assert [kind.kind for kind in found.dtypes[:2]] == ["f", "b"]
    assert found["some"].tolist()[::2] == [1.0, 0.0]
    assert found["some"].isna().tolist() == [False, True, False]


def test_days_may_come_as_dates_or_as_timestamps() -> None:
    frame = _frame()
    stamped = frame.assign(day=pd.to_datetime(frame["day"]))
    sizes = [[len(part) for part in split(_snapshot("2020-01-05", 1), FLOOD, rows)] for rows in (frame, stamped)]
    assert sizes == [[6, 12], [6, 12]]


def test_a_model_sees_neither_keys_nor_labels_nor_notes_and_all_else_in_its_order() -> None:
    hidden = [FLOOD.entity, FLOOD.day_column, *FLOOD.labels, *FLOOD.notes]
    frame = pd.DataFrame({name: [1] for name in ["precip_mm", *hidden, "discharge_m3s"]})
    assert list(features(FLOOD, frame)) == ["precip_mm", "discharge_m3s"]
    assert FLOOD.target in hidden


def test_a_snapshot_survives_the_way_through_an_xcom() -> None:
    taken = _snapshot("2020-01-07", 1)
    assert Snapshot.from_dict(taken.to_dict()) == taken


def test_the_hash_follows_the_values_and_not_the_layout() -> None:
    frame = pl.DataFrame({"day": [1, 2, 3], "value": [0.1, None, 3.0]})
    pieces = pl.concat([frame[:1], frame[1:]], rechunk=False)
    assert _hash(pieces) == _hash(frame)
    assert _hash(frame.with_columns(value=pl.col("value").fill_null(0.0))) != _hash(frame)
    assert _hash(frame.reverse()) != _hash(frame)


def test_the_hash_tells_all_types_nulls_and_texts_apart() -> None:
    days = [date(2020, 1, 1), None, date(2020, 1, 3)]
    frame = pl.DataFrame({"day": days, "n": [1, None, 3], "is_up": [True, None, False], "text": ["ab", None, "c"]})
    # As after a way through a file: what lies beneath a null differs
    again = pl.concat([frame.filter(pl.col("n") == n) if n else frame.filter(pl.col("n").is_null()) for n in (1, 0, 3)])
    assert _hash(again) == _hash(frame)
    others = [
        frame.with_columns(pl.col("text").fill_null("")),
        frame.with_columns(pl.Series("text", ["a", None, "bc"])),
        frame.with_columns(pl.col("is_up").fill_null(False)),
        frame.with_columns(pl.col("n").fill_null(0)),
        frame.with_columns(pl.col("n").cast(pl.Float64)),
        frame.with_columns(pl.col("day").dt.offset_by("1d")),
        frame.rename({"n": "m"}),
        frame.head(2),
    ]
    assert len({_hash(other) for other in [frame, *others]}) == len(others) + 1


def _days(first: date, count: int) -> pl.Series:
    return pl.Series([first + timedelta(days=at) for at in range(count)])


@pytest.mark.parametrize(
    ("days", "customary", "cutoff"),
    [
        (_days(date(1980, 10, 1), 12_400), date(2005, 10, 1), date(2005, 10, 1)),
        (_days(date(2005, 1, 1), 4_000), date(2005, 10, 1), date(2005, 1, 1) + timedelta(days=3_000)),
        (_days(date(2001, 1, 1), 1_456), date(2005, 10, 1), date(2001, 1, 1) + timedelta(days=1_092)),
        (_days(date(2010, 1, 1), 4_000), None, date(2010, 1, 1) + timedelta(days=3_999 - 730)),
        (_days(date(2024, 1, 1), 800), None, date(2024, 1, 1) + timedelta(days=600)),
    ],
    ids=[
        "customary",
        "customary too early",
        "customary too late",
        "the spec's",
        "history shorter than the spec's hold-out",
    ],
)
def test_the_default_cutoff_leaves_enough_on_both_sides(days: pl.Series, customary: date | None, cutoff: date) -> None:
    assert _default_cutoff(days, FLOOD, customary) == cutoff
