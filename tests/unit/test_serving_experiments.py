"""How experiments deal the traffic, and how rates are kept: what needs no database."""

from __future__ import annotations

from typing import Any

import pytest

from models.serving.experiments import Experiment, row_key
from models.serving.keys import Bucket


def split(share: float, salt: str = "salt") -> Experiment:
    return Experiment("flood", "split", 2, "headwater-flood:v2", share, salt)


ENTITIES = [f"{number:08}" for number in range(100_000)]


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.9])
def test_the_share_given_is_the_one_wanted_within_a_percent_of_all_entities(share: float) -> None:
    given = sum(split(share).takes(entity) for entity in ENTITIES) / len(ENTITIES)
    assert abs(given - share) < 0.01


def test_whoever_is_in_stays_in_as_the_share_grows() -> None:
    taken = [{entity for entity in ENTITIES if split(share).takes(entity)} for share in (0.1, 0.2, 0.5)]
    assert taken[0] < taken[1] < taken[2]


def test_another_experiment_deals_anew() -> None:
    first, second = ({entity for entity in ENTITIES if split(0.1, salt).takes(entity)} for salt in ("one", "other"))
    assert 0.05 < len(first & second) / len(first) < 0.15


def test_a_row_without_an_entity_goes_where_its_features_went_before() -> None:
    rows = [b'{"x": %d}' % number for number in range(20_000)]
    taken = [split(0.1).takes(row_key(row)) for row in rows]
    assert taken == [split(0.1).takes(row_key(row)) for row in rows]
    assert abs(sum(taken) / len(rows) - 0.1) < 0.01


def passed(rate: float, tokens: float, seconds: float, every: float) -> int:
    bucket, count = Bucket(rate, 0.0), 0
    for step in range(int(seconds / every)):
        if not bucket.wait(tokens, step * every):
            bucket.take(tokens)
            count += 1
    return count


@pytest.mark.parametrize(
    ("rate", "tokens", "expected"),
    [(10, 1, 109), (0.5, 1, 5), (100, 50, 21), pytest.param(100, 1000, 1, id="larger than the bucket, paid off after")],
)
def test_a_bucket_lets_its_rate_pass_and_a_second_s_worth_at_once(rate: float, tokens: float, expected: int) -> None:
    assert passed(rate, tokens, 9.99, 0.01) == pytest.approx(expected, abs=1)


def test_a_bucket_says_how_long_to_wait() -> None:
    bucket = Bucket(4.0, 0.0)
    bucket.take(4)
    assert bucket.wait(1, 0.0) == pytest.approx(0.25)
    assert bucket.wait(2, 0.0) == pytest.approx(0.5)
    assert bucket.wait(1, 0.25) == 0.0


def test_importing_what_a_bento_holds_of_the_log_needs_neither_polars_nor_mlflow() -> None:
    import subprocess
    import sys

    heavy = ("polars", "mlflow", "adbc_driver_postgresql", "pandas", "deltalake")
    program = f"""
import sys
import models.serving.spool, models.serving.keys, models.serving.experiments, pipelines.serving_tables
print([name for name in {heavy!r} if name in sys.modules])"""
    done: Any = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
