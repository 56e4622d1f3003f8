"""The exchange's daily files, sound and broken, from their bytes to accepted rows."""

from __future__ import annotations

import csv
import io
import json
import random
from datetime import date, timedelta

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from unit.equities.files import (
    DAY,
    DELIVERY,
    LAYOUTS,
    LEGACY,
    SHARES,
    UDIFF,
    bytes_of,
    checked,
    delivery,
    legacy,
    name_of,
    prices,
    reasons,
    udiff,
    zipped,
)

from pipelines.contract import Checked
from pipelines.errors import ContractError

each_layout = pytest.mark.parametrize("layout", LAYOUTS)


def same(found: Checked, expected: Checked) -> None:
    assert reasons(found) == []
    keys = ["symbol", "series", "day", "layout"]
    assert_frame_equal(found.accepted.sort(keys), expected.accepted.sort(keys))


# --- what sound files hold


def test_a_legacy_row_is_read_in_full() -> None:
    row = prices(bytes_of(legacy())).accepted.row(0, named=True)
    assert row == {
        "symbol": "ALPHA", "series": "EQ", "day": DAY, "layout": "legacy", "isin": "INE000A01011", "name": None,
        "open_inr": 100.0, "high_inr": 102.5, "low_inr": 99.0, "close_inr": 101.0, "last_inr": 101.05,
        "prev_close_inr": 99.5, "average_inr": None, "volume_shares": 1000, "turnover_inr": 100_000.0, "trades": 10,
        "delivery_shares": None,
    }  # fmt: skip


def test_a_udiff_row_is_read_in_full() -> None:
    row = prices(bytes_of(udiff())).accepted.row(0, named=True)
    assert row == {
        "symbol": "ALPHA", "series": "EQ", "day": DAY, "layout": "udiff", "isin": "INE000A01011",
        "name": "ALPHA LIMITED", "open_inr": 100.0, "high_inr": 102.5, "low_inr": 99.0, "close_inr": 101.0,
        "last_inr": 101.05, "prev_close_inr": 99.5, "average_inr": None, "volume_shares": 1000,
        "turnover_inr": 100_000.0, "trades": 10, "delivery_shares": None,
    }  # fmt: skip


def test_a_delivery_row_is_read_in_full_and_its_lakhs_are_inr() -> None:
    row = prices(bytes_of(delivery())).accepted.row(0, named=True)
    assert row == {
        "symbol": "ALPHA", "series": "EQ", "day": DAY, "layout": "delivery", "isin": None, "name": None,
        "open_inr": 100.0, "high_inr": 102.5, "low_inr": 99.0, "close_inr": 101.0, "last_inr": 101.05,
        "prev_close_inr": 99.5, "average_inr": 100.4, "volume_shares": 1000, "turnover_inr": 100_000.0, "trades": 10,
        "delivery_shares": 500,
    }  # fmt: skip


def test_lakhs_with_two_decimals_are_whole_thousands_of_inr() -> None:
    body = bytes_of(delivery()).replace(b" 1.00, 10,", b" 4123.57, 10,")
    assert prices(body).accepted["turnover_inr"][0] == 412_357_000.0


def test_a_missing_delivery_is_null_and_the_row_is_kept() -> None:
    rows = prices(bytes_of(delivery())).accepted
    assert rows.filter(pl.col("delivery_shares").is_null())["symbol"].to_list() == ["GAMMA"]


@each_layout
def test_the_series_na_is_a_series(layout: str) -> None:
    rows = prices(bytes_of(LAYOUTS[layout]())).accepted
    assert rows.filter(pl.col("series") == "NA")["symbol"].to_list() == ["BOND9"]


def test_the_layout_of_2010_has_no_trades_and_no_isin() -> None:
    lines = [",".join(line.split(",")[:11]) + "," for line in legacy()]
    assert lines[0].endswith("TIMESTAMP,")
    rows = prices(bytes_of(lines)).accepted
    assert rows.height == len(SHARES)
    assert rows["trades"].null_count() == rows["isin"].null_count() == len(SHARES)


def test_a_udiff_header_with_one_name_more_than_there_are_values_is_read() -> None:
    header, *rows = udiff()
    lines = [header.replace("Rsvd", "Rsvd0") + ",", *rows]
    assert lines[0].count(",") == lines[1].count(",") + 1
    same(prices(bytes_of(lines)), prices(bytes_of(udiff())))


@each_layout
@pytest.mark.parametrize("nothing", ["0", "0.00"])
def test_a_last_price_of_0_is_none(layout: str, nothing: str) -> None:
    lines = LAYOUTS[layout]()
    shown = "101.05" if layout == "legacy" else " 101.05" if layout == "delivery" else "101.05"
    rows = prices(bytes_of([lines[0], lines[1].replace(shown, nothing), *lines[2:]])).accepted
    assert rows["last_inr"].to_list()[0] is None
    assert rows["last_inr"].null_count() == 1


# --- the same rows in other clothes


@each_layout
@pytest.mark.parametrize(
    "dress",
    [
        lambda body: b"\xef\xbb\xbf" + body,
        lambda body: body.replace(b"\n", b"\r\n"),
        lambda body: b"\n \n" + body.replace(b"\n", b"\n\n") + b"  \n\n",
        lambda body: zipped(("inside.csv", body)),
        lambda body: zipped(("inside.csv", body), ("__MACOSX/._inside.csv", b"rubbish"), ("folder/", b"")),
        lambda body: zipped(("inside.csv", b"\xef\xbb\xbf" + body.replace(b"\n", b"\r\n"))),
        lambda body: body[:-1],
        lambda body: body.replace(b"ALPHA", b'"ALPHA"'),
        lambda body: body.replace(b"\n", b" \n").replace(b",", b" , "),
    ],
    ids=["bom", "crlf", "blank lines", "zip", "zip of a mac", "zip bom crlf", "no last newline", "quotes", "blanks"],
)
def test_a_file_is_what_it_holds(layout: str, dress: object) -> None:
    body = bytes_of(LAYOUTS[layout]())
    same(prices(dress(body)), prices(body))  # type: ignore[operator]


@each_layout
def test_every_value_quoted_and_a_name_with_a_comma_and_a_line_break_are_read(layout: str) -> None:
    rows = [line.split(",") for line in LAYOUTS[layout]()]
    if layout == "udiff":
        rows[1][13] = 'ALPHA, THE "FIRST"\nLIMITED'
    out = io.StringIO()
    csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(
        [[field.strip() for field in row] for row in rows]
    )
    found = prices(out.getvalue().encode())
    assert (found.accepted.height, reasons(found)) == (len(SHARES), [])
    if layout == "udiff":
        assert found.accepted["name"][0] == 'ALPHA, THE "FIRST"\nLIMITED'


@each_layout
@pytest.mark.parametrize("seed", range(5))
def test_columns_may_come_in_any_order_with_new_ones_among_them(layout: str, seed: int) -> None:
    chance = random.Random(seed)
    rows = [[*line.rstrip(",").split(",")] for line in LAYOUTS[layout]()]
    width = len(rows[0])
    rows = [[*row, *[""] * (width - len(row)), "NewColumn" if at == 0 else str(at)] for at, row in enumerate(rows)]
    order = chance.sample(range(width + 1), width + 1)
    shuffled = [",".join(row[place] for place in order) for row in rows]
    same(prices(bytes_of(shuffled)), prices(bytes_of(LAYOUTS[layout]())))


@each_layout
def test_capitals_of_the_header_do_not_matter(layout: str) -> None:
    lines = LAYOUTS[layout]()
    for header in (lines[0].upper(), lines[0].lower()):
        same(prices(bytes_of([header, *lines[1:]])), prices(bytes_of(lines)))


def test_a_name_in_latin_letters_does_not_keep_the_file_out() -> None:
    body = bytes_of(udiff()).replace(b"ALPHA LIMITED", "ALPHÉ LIMITED".encode("cp1252"))
    assert prices(body).accepted["name"][0] == "ALPHÉ LIMITED"


# --- files that are not what they should be


@each_layout
def test_a_file_cut_in_a_row_is_refused_whole(layout: str) -> None:
    body = bytes_of(LAYOUTS[layout]())
    start = body.rindex(b"GAMMA")
    found = prices(body[: body.index(b"3000", start)], "the file")
    assert found.accepted.is_empty()
    assert len(reasons(found)) == 3
    assert {reason.split(", ")[0] for reason in reasons(found)} == {"the file is cut off in line 4"}
    assert all("none of its rows is taken" in reason for reason in reasons(found))


@each_layout
@pytest.mark.parametrize("seed", range(40))
def test_a_file_cut_anywhere_in_a_row_is_never_taken_for_its_day(layout: str, seed: int) -> None:
    shares = [(f"SHARE{at}", "EQ", 50 + at) for at in range(1 + 30 * (seed % 3))]
    body = bytes_of(LAYOUTS[layout](DAY, shares))
    # Between two rows, nobody can tell
    inside = [at for at in range(1, len(body)) if body[at : at + 1] != b"\n" and body[at - 1 : at] != b"\n"]
    at = random.Random(seed).choice(inside)
    found = prices(body[:at])
    assert found.accepted.is_empty(), body[:at][-80:]
    assert found.received


def test_a_cut_that_leaves_whole_fields_is_found_by_their_number() -> None:
    lines = legacy()
    for kept in range(1, 13):
        lines[-1] = ",".join(legacy()[-1].split(",")[:kept])
        for end in ("", "\n", ","):
            found = prices(("\n".join(lines) + end).encode())
            assert found.accepted.is_empty(), lines[-1]


@each_layout
@pytest.mark.parametrize("share", [0.02, 0.5, 0.98])
def test_a_zip_that_is_cut_is_one_row_with_its_reason(layout: str, share: float) -> None:
    body = zipped(("inside.csv", bytes_of(LAYOUTS[layout]())))
    found = prices(body[: max(4, int(len(body) * share))], "the file")
    assert found.accepted.is_empty()
    (reason,) = reasons(found)
    assert reason.startswith("the file is a cut or broken archive")
    assert found.quarantined["day"].to_list() == [DAY]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "the file is empty"),
        (b" \r\n\n", "the file is empty"),
        (b"\n<!DOCTYPE html><html><body>Access Denied</body></html>\n", "the file is a web page, not a table"),
        (b'{"error": "no"}\n', "the file has the header of no known layout"),
        (b"symbol,price\nALPHA,3\n", "the file has the header of no known layout"),
        (b"\x00\x01\x02", "the file is cut off in its first line"),
        (LEGACY.encode(), "the file is cut off in its first line"),
        (LEGACY.encode()[:30], "the file is cut off in its first line"),
        (zipped(), "the file is an archive of 0 files, not of one"),
        (zipped(("a.csv", b"x"), ("b.csv", b"y")), "the file is an archive of 2 files, not of one"),
    ],
    ids=lambda value: "" if isinstance(value, bytes) else value.replace(" ", "-"),
)
def test_what_is_no_file_of_prices_is_quarantined_with_what_it_is(body: bytes, reason: str) -> None:
    found = prices(body, "the file")
    assert found.accepted.is_empty()
    assert reasons(found) == [reason]


def test_the_answer_no_records_has_no_rows() -> None:
    for body in (b"NO RECORDS,,,,,,\n", b"NO RECORDS", f"{LEGACY}\nNO RECORDS,,,,,,\n".encode(), f"{UDIFF}\n".encode()):
        assert prices(body).received == 0


def test_a_row_with_a_wrong_number_of_fields_is_quarantined_with_its_line_and_the_others_are_taken() -> None:
    lines = legacy()
    lines[2] = "BETA,EQ,20,21"
    lines[3] += "one more"
    found = prices(bytes_of(lines), "the file")
    assert found.accepted["symbol"].to_list() == ["ALPHA", "BOND9"]
    assert reasons(found) == ["line 3 of the file has 4 fields, not 13", "line 4 of the file has 14 fields, not 13"]
    assert json.loads(found.quarantined["raw"][0])["row"] == "the file line 3: BETA,EQ,20,21"


@each_layout
def test_a_copy_of_another_day_is_refused_whole_and_says_of_which(layout: str) -> None:
    body = bytes_of(LAYOUTS[layout](DAY - timedelta(days=3)))
    found = prices(body)
    assert found.accepted.is_empty()
    assert set(reasons(found)) == {"the file of 2024-03-04 holds rows of 2024-03-01: a stale copy"}
    assert set(found.quarantined["day"]) == {DAY}, "it counts for the day that it was to be of"
    raw = json.loads(found.quarantined["raw"][0])
    assert raw["symbol"] == "ALPHA"
    assert "01-M" in raw["row"].upper() or "2024-03-01" in raw["row"]
    assert prices(body, day=None).accepted.height == len(SHARES), "without a day of its own it is what it holds"


def test_a_file_of_a_later_day_is_no_stale_copy_but_refused_as_well() -> None:
    assert set(reasons(prices(bytes_of(legacy(date(2024, 3, 5)))))) == {
        "the file of 2024-03-04 holds rows of 2024-03-05: another day's file"
    }


def test_single_rows_of_another_day_are_refused_alone() -> None:
    body = bytes_of([*legacy(), *legacy(DAY - timedelta(days=3))[1:2]])
    found = prices(body)
    assert found.accepted.height == len(SHARES)
    assert reasons(found) == ["the file of 2024-03-04 holds a row of 2024-03-01"]


def test_rows_of_another_exchange_or_segment_are_quarantined() -> None:
    lines = udiff()
    lines[1] = lines[1].replace(",NSE,", ",BSE,")
    lines[2] = lines[2].replace(",CM,", ",FO,")
    lines[3] = lines[3].replace(",NSE,", ",,")
    found = prices(bytes_of(lines))
    assert found.accepted["symbol"].to_list() == ["BOND9"]
    assert reasons(found) == ["Src is BSE, not NSE", "Sgmt is FO, not CM", "Src is missing, not NSE"]


@pytest.mark.parametrize(
    ("prices_of", "reason"),
    [
        ("100,98,99,98.5", "high_inr is below low_inr"),
        ("103,102.5,99,101", "open_inr is outside low_inr to high_inr"),
        ("98.95,102.5,99,101", "open_inr is outside low_inr to high_inr"),
        ("100,102.5,99,98.95", "close_inr is outside low_inr to high_inr"),
        ("x,102.5,99,101", "open_inr is not a float"),
        (",102.5,99,101", "open_inr is missing"),
        ("100,102.5,-1,101", "low_inr is below 0 INR"),
        ("nan,102.5,99,101", "open_inr is not a finite number"),
    ],
)
def test_an_impossible_row_is_quarantined_and_shows_its_values(prices_of: str, reason: str) -> None:
    lines = legacy()
    lines[1] = lines[1].replace("100,102.5,99,101", prices_of)
    found = prices(bytes_of(lines))
    assert reasons(found) == [reason] or (reason.endswith("finite number") and len(reasons(found)) == 1)
    assert json.loads(found.quarantined["raw"][0])["open_inr"] == (prices_of.split(",")[0] or None)


def test_a_row_at_its_own_bounds_is_possible() -> None:
    lines = legacy()
    lines[1] = lines[1].replace("100,102.5,99,101", "100,100,100,100")
    assert reasons(prices(bytes_of(lines))) == []


def test_the_series_t0_may_close_where_it_never_traded() -> None:
    lines = legacy()
    lines[1] = lines[1].replace("100,102.5,99,101", "100,102.5,99,98.95").replace(",EQ,", ",T0,")
    assert reasons(prices(bytes_of(lines))) == []
    lines[1] = lines[1].replace("100,102.5,99", "103,102.5,99")
    assert reasons(prices(bytes_of(lines))) == ["open_inr is outside low_inr to high_inr"]


def test_a_repeated_row_is_doubled_and_the_first_stays() -> None:
    lines = legacy()
    found = prices(bytes_of([*lines, lines[1]]))
    assert found.accepted.height == len(SHARES)
    assert reasons(found) == ["doubled: symbol, series, day, layout occurs more than once"]


@pytest.mark.parametrize(
    ("layout", "old", "new"),
    [
        ("legacy", "CLOSE,LAST", "CLOSE_PRICE,LAST"),
        ("legacy", "TOTALTRADES", "TOTAL_TRADES"),
        ("legacy", "TIMESTAMP", "TIME_STAMP"),
        ("udiff", "TckrSymb", "TckrSymbol"),
        ("udiff", "FinInstrmNm", "FinInstrmName"),
        ("udiff", "Src", "Source"),
        ("udiff", "ClsPric", "ClosgPric"),
        ("udiff", "ClsPric", "val"),
        ("delivery", "DELIV_QTY", "DELIVERY_QTY"),
        ("delivery", "TURNOVER_LACS", "TURNOVER_LAKHS"),
    ],
)
def test_a_renamed_field_is_a_broken_contract_that_names_the_file_and_the_new_name(
    layout: str, old: str, new: str
) -> None:
    body = bytes_of(LAYOUTS[layout]()).replace(old.encode(), new.encode(), 1)
    field, renamed = old.partition(",")[0], new.partition(",")[0]
    with pytest.raises(ContractError, match=rf"{layout} file the file has no field '{field}'.*renamed to '{renamed}'"):
        prices(body, "the file")


def test_a_missing_field_is_a_broken_contract() -> None:
    with pytest.raises(ContractError, match="udiff file the file has no field 'ISIN'"):
        prices(bytes_of(udiff()).replace(b",ISIN,", b",,", 1), "the file")


def test_one_file_of_another_shape_keeps_no_other_out() -> None:
    renamed = bytes_of(legacy()).replace(b"PREVCLOSE", b"PREVIOUS_CLOSE", 1)
    good = bytes_of(legacy(DAY + timedelta(days=1)))
    found = checked(("bad", renamed, {"day": str(DAY)}), ("good", good, {"day": str(DAY + timedelta(days=1))}))
    assert found.accepted.height == len(SHARES)
    assert len(reasons(found)) == len(SHARES)
    assert "bad has no field 'PREVCLOSE'; was it renamed to 'PREVIOUS_CLOSE'?" in reasons(found)[0]
    assert set(found.quarantined["day"]) == {DAY}
    assert "ALPHA,EQ,100" in found.quarantined["raw"][0]


# --- anything at all


@pytest.mark.parametrize("seed", range(60))
def test_whatever_is_done_to_a_file_no_row_is_lost_and_no_wrong_one_taken(seed: int) -> None:
    chance = random.Random(seed)
    layout = chance.choice(list(LAYOUTS))
    sound = prices(bytes_of(LAYOUTS[layout]())).accepted
    body = bytearray(bytes_of(LAYOUTS[layout]()))
    for _ in range(chance.randrange(1, 6)):
        at = chance.randrange(len(body))
        match chance.randrange(4):
            case 0:
                body[at] = chance.randrange(256)
            case 1:
                del body[at : at + chance.randrange(1, 40)]
            case 2:
                body[at:at] = bytes(chance.choices(b',"\n\r0123456789AZ <.-', k=chance.randrange(1, 6)))
            case _:
                body[at:at] = body[at : at + 60]
    try:
        found = prices(bytes(body))
    except ContractError:
        return
    assert found.accepted.select("symbol", "series", "day", "layout").is_unique().all()
    assert (found.accepted["high_inr"] >= found.accepted["low_inr"]).all()
    assert set(found.accepted["day"]) <= {DAY}
    assert found.accepted.columns == sound.columns


def test_a_header_is_read_by_its_names_in_every_layout() -> None:
    assert len({LEGACY, UDIFF, DELIVERY}) == 3
    for layout, lines in LAYOUTS.items():
        assert set(prices(bytes_of(lines()), name_of(layout)).accepted["layout"]) == {layout}
