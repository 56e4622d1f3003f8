"""The shape of an answer: what changes it and what does not, for each layout that upstreams have."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

import polars as pl
import pytest

from pipelines import shapes
from sandbox.tamper import tamper

GEO = {
    "type": "FeatureCollection",
    "features": [
        {"properties": {"time": "2024-05-01", "value": "12.5", "unit_of_measure": "ft^3/s", "qualifier": None}},
        {"properties": {"time": "2024-05-02", "value": "13", "unit_of_measure": "ft^3/s", "qualifier": ["e"]}},
    ],
}


def of(body: Any) -> shapes.Shape:
    return shapes.of(json.dumps(body).encode())


def changed(fault: str, field: str = "value", rename_to: str = "val") -> list[str]:
    return shapes.changes(of(GEO), of(tamper(json.loads(json.dumps(GEO)), fault, field, rename_to)))


def test_other_values_more_rows_and_empty_values_are_no_change() -> None:
    other = json.loads(json.dumps(GEO))
    other["features"].append({"properties": {"time": "2024-05-03", "value": None, "unit_of_measure": "ft^3/s"}})
    other["features"][0]["properties"]["value"] = "99999"
    now = of(other)
    assert shapes.changes(of(GEO), now) == []
    assert shapes.changes(of(GEO), of({**GEO, "features": []})) == [], "an empty list says nothing of what it holds"


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("renamed_field", "features[].properties.value is gone, and features[].properties.val is new: it may have"),
        ("wrong_type", "features[].properties.value was number as text, and is number as text or text"),
        ("wrong_unit", "features[].properties.unit_of_measure was unit ft^3/s, and is unit m^3/s"),
    ],
)
def test_what_breaks_a_load_is_named_by_its_field(fault: str, said: str) -> None:
    (found,) = changed(fault)
    assert found.startswith(said)


def test_a_field_that_is_gone_is_named_and_one_that_need_not_be_there_is_not() -> None:
    without = json.loads(json.dumps(GEO))
    for feature in without["features"]:
        del feature["properties"]["time"]
    assert shapes.changes(of(GEO), of(without)) == ["features[].properties.time is gone"]
    optional = json.loads(json.dumps(GEO))
    del optional["features"][0]["properties"]["qualifier"]
    assert shapes.changes(of(optional), of(without)) == ["features[].properties.time is gone"]


def test_a_new_object_is_named_once_and_not_by_each_of_its_fields() -> None:
    more = {**GEO, "links": {"next": "https://example.org", "rel": "next"}}
    assert shapes.changes(of(GEO), of(more)) == ["links is new (object)"]


def test_the_unit_that_open_meteo_names_is_part_of_the_shape() -> None:
    body = {"daily_units": {"precipitation_sum": "mm"}, "daily": {"precipitation_sum": [1.0, None]}}
    inches = {**body, "daily_units": {"precipitation_sum": "inch"}}
    assert shapes.changes(of(body), of(inches)) == ["daily_units.precipitation_sum was unit mm, and is unit inch"]


def test_what_was_only_empty_takes_the_type_that_it_has_later() -> None:
    empty, full = of({"a": None}), of({"a": 4})
    assert shapes.changes(empty, full) == []
    assert shapes.changes(shapes.grown(empty, full), of({"a": "x"})) == ["a was null or number, and is text"]


def test_a_csv_has_its_columns_their_kinds_and_its_separator() -> None:
    first = b"SYMBOL,DATE,CLOSE\nABB,2024-05-02,12.5\n"
    assert shapes.changes(shapes.of(first), shapes.of(b"SYMBOL,DATE,CLOSE\nTCS,2024-05-03,9\n")) == []
    assert shapes.changes(shapes.of(first), shapes.of(b"SYMBOL,DATE\nABB,2024-05-02\n")) == ["CLOSE is gone"]
    assert shapes.changes(shapes.of(first), shapes.of(b"SYMBOL,DATE,CLOSE\nABB,2024-05-02,n/a\n")) == [
        "CLOSE was number as text, and is text"
    ]
    assert "(layout) was text separated by ',', and is text separated by ';'" in shapes.changes(
        shapes.of(first), shapes.of(first.replace(b",", b";"))
    )


def _zip(name: str, body: bytes) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr(name, body)
    return made.getvalue()


def test_an_archive_has_its_members_without_the_days_in_their_names() -> None:
    csv = b"SYMBOL,CLOSE\nABB,1\n"
    first = shapes.of(_zip("cm02MAY2024bhav.csv", csv))
    assert shapes.changes(first, shapes.of(_zip("cm03MAY2024bhav.csv", csv))) == []
    assert shapes.changes(first, shapes.of(csv)) != []


def test_parquet_and_arrow_have_the_types_of_their_columns() -> None:
    frame, other = pl.DataFrame({"fare": [1.5]}), pl.DataFrame({"fare": ["1.5"]})
    files = [io.BytesIO() for _ in range(4)]
    frame.write_parquet(files[0])
    other.write_parquet(files[1])
    frame.write_ipc_stream(files[2])
    other.write_ipc_stream(files[3])
    found = [shapes.of(file.getvalue()) for file in files]
    assert shapes.changes(found[0], found[0]) == shapes.changes(found[2], found[2]) == []
    for first, second in ((0, 1), (2, 3)):
        (said,) = shapes.changes(found[first], found[second])
        assert said.startswith("fare was double, and is ")


def test_of_several_answers_only_what_all_have_is_always_there() -> None:
    both = shapes.merged([of({"a": 1, "b": 2}), of({"a": 1})])
    assert shapes.changes(both, of({"a": 3})) == []
    assert shapes.changes(both, of({"b": 3})) == ["a is gone"]


def test_a_list_that_is_empty_says_nothing_of_what_it_holds() -> None:
    full, empty = (shapes.of(body) for body in (b'{"features": [{"id": 1, "at": {"x": 2.5}}]}', b'{"features": []}'))
    assert shapes.changes(full, empty) == []
    assert shapes.changes(empty, full) == [], "also where it was empty when it was first seen"
    assert shapes.grown(full, empty) == full
    learnt = shapes.grown(empty, full)
    assert learnt == full
    assert shapes.changes(learnt, shapes.of(b'{"features": [{"id": 1}]}')) == ["features[].at is gone"]
    assert shapes.changes(shapes.of(b"[]"), shapes.of(b'[{"a": 1}]')) == []
