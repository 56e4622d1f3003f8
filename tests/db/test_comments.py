"""What a loaded table and its columns mean is said in Postgres too, and follows the contract's version."""

from __future__ import annotations

from dataclasses import replace

from db.helpers import DAY, DISCHARGE, FLOOD, discharge, giving, received, values, window_of

from pipelines import raw
from pipelines.faces import meaning
from pipelines.spec import Dataset
from pipelines.types import REVISED

OF_TABLE = "select obj_description('raw_flood.discharge'::regclass, 'pg_class')"
OF_COLUMNS = """
    select col_description(attrelid, attnum) from pg_attribute
    where attrelid = 'raw_flood.discharge'::regclass and attnum > 0 order by attnum"""
WHO_WROTE_THEM = (
    "select xmin::text from pg_description where objoid = 'raw_flood.discharge'::regclass order by objsubid"
)


def load(url: str, dataset: Dataset) -> None:
    raw.load(url, FLOOD, dataset, window_of(DAY), giving(received(discharge([1.0]))))


def test_a_load_leaves_the_contracts_words_on_the_table_and_its_columns(url: str) -> None:
    load(url, DISCHARGE)
    assert values(url, OF_TABLE) == [f"Data contract raw_flood.discharge {DISCHARGE.version}"]
    assert values(url, OF_COLUMNS) == [meaning(column) for column in (*DISCHARGE.columns, REVISED)]


def test_comments_are_written_again_only_for_another_version(url: str) -> None:
    load(url, DISCHARGE)
    first = values(url, WHO_WROTE_THEM)
    load(url, DISCHARGE)
    assert values(url, WHO_WROTE_THEM) == first
    *others, last = DISCHARGE.columns
    load(url, replace(DISCHARGE, version="9.0", columns=(*others, replace(last, doc="It's in other words."))))
    assert values(url, OF_TABLE) == ["Data contract raw_flood.discharge 9.0"]
    assert values(url, OF_COLUMNS)[-2] == "It's in other words."
