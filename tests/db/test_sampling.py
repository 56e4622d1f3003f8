"""Samples in a real Postgres: what is rare is kept, weights add up to all rows, and the hold-out is as it was."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import polars as pl
import pytest

from pipelines import database, sampling
from pipelines.errors import SettingsError
from pipelines.registry import get_use_case
from pipelines.spec import UseCase

CUTOFF = date(2024, 3, 1)
CHURN = replace(get_use_case("churn"), slug="leaving", sample_rows=300, sample_keeps="is_churn_next_month")
ROWS = """
create schema leaving;
create table leaving.features as
select 'C' || number as customer_id, date '2024-01-01' + (number % 120)::int as day, number % 4 as calls,
    (number % 7)::float8 as charge_usd, case when number % 2 = 0 then 'fibre' else 'none' end as internet,
    case when number % 101 = 0 then null else number % 50 = 0 end as is_churn_next_month
from generate_series(1, 6000) as number"""


@pytest.fixture
def warehouse(url: str) -> str:
    """6,000 customers on 120 days, of whom one in fifty left."""
    database.query(url, ROWS)
    return url


def _sample(url: str, case: UseCase, where: str = "true") -> pl.DataFrame:
    return database.read_frame(url, sampling.parted(url, case, where, CUTOFF))


def _all(url: str) -> pl.DataFrame:
    return database.read_frame(url, "select * from leaving.features")


def test_every_rare_event_is_kept_and_the_weights_stand_for_all_rows_that_are_trained_on(warehouse: str) -> None:
    before = pl.col("day") < CUTOFF
    rows, found = _all(warehouse).filter(before), _sample(warehouse, CHURN).filter(before)
    left = pl.col("is_churn_next_month").fill_null(value=False)
    assert found.columns == [*rows.columns, sampling.WEIGHT]
    assert set(found.filter(left)["customer_id"]) == set(rows.filter(left)["customer_id"])
    assert set(found.filter(left)[sampling.WEIGHT]) == {1.0}
    assert found.height == 300
    assert found[sampling.WEIGHT].sum() == pytest.approx(rows.height)
    share = (found["is_churn_next_month"].fill_null(value=False) * found[sampling.WEIGHT]).sum() / rows.height
    assert share == pytest.approx(rows.filter(left).height / rows.height)


def test_the_hold_out_is_drawn_from_without_regard_to_what_came_of_it(warehouse: str) -> None:
    after = pl.col("day") >= CUTOFF
    rows, found = _all(warehouse).filter(after), _sample(warehouse, CHURN).filter(after)
    assert found.height == 300
    assert set(found[sampling.WEIGHT]) == {1.0}
    share = found["is_churn_next_month"].mean()
    assert 0 < share < 3 * rows["is_churn_next_month"].mean()  # type: ignore[operator]
    everything = _sample(warehouse, replace(CHURN, sample_rows=None))
    assert everything.height == 6000
    assert set(everything[sampling.WEIGHT]) == {1.0}


def test_the_same_rows_give_the_same_sample_for_a_seed(warehouse: str) -> None:
    first, other = _sample(warehouse, CHURN), _sample(warehouse, replace(CHURN, sample_seed=1))
    database.query(warehouse, "create table leaving.again as select * from leaving.features order by random()")
    database.query(warehouse, "drop table leaving.features")
    database.query(warehouse, "alter table leaving.again rename to features")
    assert set(_sample(warehouse, CHURN)["customer_id"]) == set(first["customer_id"]) != set(other["customer_id"])


def test_where_more_is_rare_than_there_is_room_for_as_many_others_are_drawn(warehouse: str) -> None:
    found = _sample(warehouse, replace(CHURN, sample_rows=10)).filter(pl.col("day") < CUTOFF)
    left = found["is_churn_next_month"].fill_null(value=False).sum()
    assert left > 10
    assert found.height == 2 * left


def test_rows_of_a_day_that_agree_become_one_with_their_mean_and_how_many_they_are(warehouse: str) -> None:
    case = replace(CHURN, sample_keeps=None, sample_means=("internet",), target="charge_usd")
    rows, found = _all(warehouse), _sample(warehouse, replace(case, sample_rows=None))
    before = pl.col("day") < CUTOFF
    expected = rows.filter(before).group_by("day", "internet").agg(
        pl.col("charge_usd").mean(), pl.len().cast(pl.Float64).alias(sampling.WEIGHT)
    )  # fmt: skip
    one = found.filter(before).select(expected.columns).sort("day", "internet")
    assert one.height == expected.height == 60
    joined = one.join(expected, on=["day", "internet"])
    assert (joined["charge_usd"] - joined["charge_usd_right"]).abs().max() < 1e-12  # type: ignore[operator]
    assert joined[sampling.WEIGHT].equals(joined[f"{sampling.WEIGHT}_right"])
    assert found.filter(~before).height == rows.filter(~before).height
    assert found.schema.items() >= rows.schema.items()


def test_rows_with_another_outcome_are_never_made_one(warehouse: str) -> None:
    found = _sample(warehouse, replace(CHURN, sample_means=("internet",))).filter(pl.col("day") < CUTOFF)
    rows = _all(warehouse).filter(pl.col("day") < CUTOFF)
    for outcome in (True, False, None):
        same = pl.col("is_churn_next_month").eq_missing(pl.lit(outcome))
        assert found.filter(same)[sampling.WEIGHT].sum() == rows.filter(same).height
    assert found.height < rows.height / 5


def test_the_recent_window_ends_with_the_newest_row_that_may_be_used(warehouse: str) -> None:
    assert sampling.recent(CHURN, "true") == "true"
    where = sampling.recent(replace(CHURN, sample_days=10), "day <= date '2024-04-10'")
    (found,) = database.query(warehouse, f"select min(day) as a, max(day) as b from leaving.features where {where}")
    assert found == {"a": date(2024, 4, 1), "b": date(2024, 4, 10)}


def test_a_column_that_is_not_there_is_named(warehouse: str) -> None:
    with pytest.raises(SettingsError, match=r"samples by is_rare, which leaving.features has not"):
        sampling.parted(warehouse, replace(CHURN, sample_keeps="is_rare"), "true", CUTOFF)
