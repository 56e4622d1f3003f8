"""Binary COPY: every value of a contract's types arrives as it is, whatever the batch looks like."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, date, datetime

import polars as pl
import psycopg2
import pytest

from pipelines import binary_copy, database
from pipelines.binary_copy import Stream, encode
from pipelines.types import FACES

SCHEMA = pl.Schema({f"a_{name}": face.polars for name, face in FACES.items()})
EDGES: dict[str, list[object]] = {
    "a_string": ["", "a", "Grüße, 東京 🌊", "quote ' \" \\ and\ttab\nline", "x" * 5000],
    "a_int": [0, -1, 2**63 - 1, -(2**63), 7],
    "a_float": [0.0, -0.1, 1e308, 5e-324, float("inf")],
    "a_bool": [True, False, True, True, False],
    "a_date": [date(2000, 1, 1), date(1999, 12, 31), date(1, 1, 1), date(9999, 12, 31), date(2024, 2, 29)],
    "a_timestamp": [
        datetime(2000, 1, 1, tzinfo=UTC),
        datetime(1999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        datetime(1, 1, 1, tzinfo=UTC),
        datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        datetime(2024, 2, 29, 12, tzinfo=UTC),
    ],
}
Roundtrip = Callable[[list[pl.DataFrame]], pl.DataFrame]


@pytest.fixture
def there_and_back(url: str) -> Roundtrip:
    columns = ", ".join(f"a_{name} {face.postgres}" for name, face in FACES.items())

    def bring(batches: list[pl.DataFrame]) -> pl.DataFrame:
        connection = psycopg2.connect(url)
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute(f"drop table if exists binary_copy; create table binary_copy ({columns})")
                cursor.copy_expert("copy binary_copy from stdin (format binary)", Stream(encode(batches)), 1000)
                assert cursor.rowcount == sum(batch.height for batch in batches)
        finally:
            connection.close()
        return database.read_frame(url, "select * from binary_copy order by ctid")

    return bring


def _frame(rows: list[tuple[object, ...]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


ROWS = list(zip(*EDGES.values(), strict=True))
NOTHING = (None,) * len(SCHEMA)


@pytest.mark.parametrize(
    "rows",
    [ROWS, [NOTHING], [*ROWS, NOTHING], [NOTHING, *ROWS], ROWS[:1], [ROWS[0]] * 3, []],
    ids=["edges", "a null row", "null last", "null first", "an empty text", "texts all as long", "no rows"],
)
def test_values_at_the_edges_of_their_types_come_back_as_they_were(
    rows: list[tuple[object, ...]], there_and_back: Roundtrip
) -> None:
    assert there_and_back([_frame(rows)]).equals(_frame(rows))


def test_values_and_nulls_in_any_mixture_come_back_from_any_batches(
    there_and_back: Roundtrip, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(binary_copy, "MATRIX_BYTES", 20_000)  # small pieces: many
    chance = random.Random(3)
    rows = [
        tuple(None if chance.random() < 0.3 else chance.choice(values) for values in EDGES.values()) for _ in range(700)
    ]
    batches = [_frame(rows[:1]), _frame([]), _frame(rows[1:400]), _frame(rows[400:])]
    assert there_and_back(batches).equals(_frame(rows))
    # What Polars hands on may be a slice, or of several chunks
    whole = pl.concat(batches, rechunk=False)
    assert there_and_back([whole[3:600]]).equals(_frame(rows)[3:600])


def test_a_float_that_is_none_arrives(there_and_back: Roundtrip) -> None:
    rows = _frame([("a", 1, float("nan"), True, date(2000, 1, 1), datetime(2000, 1, 1, tzinfo=UTC))])
    assert there_and_back([rows]).get_column("a_float").is_nan().all()


def test_one_long_text_does_not_make_the_others_rows_as_wide() -> None:
    texts = pl.DataFrame({"text": ["short"] * 50_000 + ["long" * 500_000] + ["short"] * 50_000})
    largest = max(memoryview(piece).nbytes for piece in encode([texts]))  # type: ignore[arg-type]
    assert largest < 3_000_000
    assert sum(memoryview(piece).nbytes for piece in encode([texts])) == 19 + 2 + 100_001 * 6 + 500_000 + 2_000_000  # type: ignore[arg-type]


def test_a_type_that_no_contract_has_is_refused() -> None:
    with pytest.raises(KeyError):
        list(encode([pl.DataFrame({"a": [1]}, schema={"a": pl.Int16()})]))
