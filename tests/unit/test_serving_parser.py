"""The quick way to read rows takes nothing that pydantic, which judges the rest, would refuse or read otherwise."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from models.serving.card import ServingCard
from models.serving.limits import MAX_ITEMS
from models.serving.schema import LARGEST, LARGEST_WHOLE, RefusedError, RequestParser

CARD = ServingCard(
    use_case="gauges", version=3, run_id="abc", entity="site_id", day="day", feature_table="gauges.features",
    features=[
        {"name": "level_m", "type": "float", "nullable": True}, {"name": "month", "type": "int"},
        {"name": "is_wet", "type": "bool", "nullable": True}, {"name": "class", "type": "string", "nullable": True},
    ],
    outputs=["y"], title="Gauges", doc="A test's model.", model_sha256="0" * 64,
    created_at=datetime(2026, 1, 1, tzinfo=UTC),
)  # fmt: skip
QUICK, SLOW = RequestParser(CARD), RequestParser(CARD)
_EDGES = [LARGEST, -LARGEST, LARGEST * 1.1, float("inf"), float("nan"), 0.0, -0.0, 1.0]
_WHOLE = [LARGEST_WHOLE, -LARGEST_WHOLE, LARGEST_WHOLE + 1, 2**63, -(2**63) - 1, 10**400]
_VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.sampled_from(_WHOLE), st.floats(), st.sampled_from(_EDGES),
    st.text(max_size=4), st.sampled_from(["\ud800", "\ud800\ud800", "\x00", "a\n", "x" * 1000, "x" * 1001, "1"]),
    st.lists(st.integers(), max_size=1),
)  # fmt: skip
_ROWS = st.dictionaries(st.sampled_from(["level_m", "month", "is_wet", "class", "clas"]), _VALUES)
_PLAUSIBLE = st.fixed_dictionaries(
    {"month": st.integers(1, 12)},
    optional={"level_m": st.floats(-1e3, 1e3), "is_wet": st.booleans(), "class": st.text(max_size=4)},
)


def _refuses(body: bytes) -> Any:
    raise msgspec.ValidationError


SLOW._quick = _refuses  # so that pydantic reads all


def _read(parser: RequestParser, body: bytes) -> str | None:
    """What comes out of a body, written so that 1, 1.0 and True differ; None where it is refused."""
    try:
        return repr(parser(body))
    except RefusedError:
        return None


@settings(max_examples=400, deadline=None)
@given(st.lists(st.one_of(_PLAUSIBLE, _ROWS), max_size=3), st.booleans())
@example([{"month": 1, "level_m": 10**400}], True)
@example([{"month": 1, "class": "\ud800\ud800"}], True)
def test_both_ways_read_the_same(rows: list[dict[str, Any]], ascii_only: bool) -> None:
    body = json.dumps({"rows": rows}, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    assert _read(QUICK, body) == _read(SLOW, body)


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b"{}", b'{"rows": []}', b'{"rows": null}', b'{"rows": [{}]}',
        b'{"rows": [{"month": 1}], "x": 1}',
        b'{"rows": [{"month": 1}]} x', b'{"rows": [{"month": 01}]}', b'{"rows": [{"month": 1, "month": 2}]}',
        b'{"rows": [{"month": 1}], "rows": [{"month": 2}]}', b'{"rows": [{"month": 1, "level_m": 1e400}]}',
        b'{"rows": [{"month": 1, "level_m": 1E5}]}', b'{"rows": [{"month": 1, "class": "\xff"}]}',
        b'\xef\xbb\xbf{"rows": [{"month": 1}]}', b'{"rows": [{"month": 1}], "entities": [{"site_id": "a"}]}',
        json.dumps({"rows": [{"month": 1}] * (MAX_ITEMS + 1)}).encode(),
    ],
)  # fmt: skip
def test_both_ways_read_the_same_of_what_nobody_means(body: bytes) -> None:
    assert _read(QUICK, body) == _read(SLOW, body)


def test_what_clients_send_goes_the_quick_way() -> None:
    parser = RequestParser(CARD)
    parser._validator = None  # type: ignore[assignment]
    body = json.dumps({"rows": [{"class": "a", "is_wet": True, "level_m": 1, "month": 2}, {"month": 3}]}).encode()
    assert parser(body) == (
        None,
        [
            {"level_m": 1.0, "month": 2, "is_wet": True, "class": "a"},
            {"level_m": None, "month": 3, "is_wet": None, "class": None},
        ],
    )
