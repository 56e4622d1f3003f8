"""Recorded history of CAMELS-US, from the folder to accepted rows."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import polars as pl
import pytest

from pipelines.contract import Checked, check
from pipelines.errors import ContractError, NotFoundError
from pipelines.landing import LandedObject, Received
from pipelines.use_cases.flood import camels, source
from pipelines.use_cases.flood.spec import USE_CASE
from pipelines.window import Window

CFS = 0.028316846592
ALWAYS = Window.parse("1970-01-01", "2030-12-31")
DAYMET_HEADER = "Year Mnth Day Hr dayl(s) prcp(mm/day) srad(W/m2) swe(mm) tmax(C) tmin(C) vp(Pa)"
MODEL_HEADER = "YR MNTH DY HR SWE PRCP RAIM TAIR PET ET MOD_RUN OBS_RUN"
FLOW = "01010000_streamflow_qc.txt"
DAYMET = "01010000_lump_cida_forcing_leap.txt"


def through(files: dict[str, list[Received]]) -> dict[str, Checked]:
    """What a recording's files come to behind parser and contract, by data set."""
    results = {}
    for name, received in files.items():
        landed = [(LandedObject("", 0, item.request, item.format, item.context), item.body) for item in received]
        rows = source.parse(USE_CASE.dataset(name), landed)
        results[name] = check(USE_CASE.dataset(name), rows, ALWAYS)
        assert results[name].received == rows.height
    return results


def reasons(result: Checked) -> list[str]:
    return result.quarantined.get_column("reason").to_list()


def at(result: Checked, site: str, day: str) -> dict[str, object]:
    (row,) = result.accepted.filter(site_id=site, day=date.fromisoformat(day)).rows(named=True)
    return row


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of one gauge with three days of flow and of Daymet weather."""
    (tmp_path / FLOW).write_text("".join(f"01010000 2000 01 0{day}   10{day}.00 A\n" for day in (1, 2, 3)))
    rows = [f"2000 01 0{day} 12\t31185.97\t{day}.50\t189.56\t0.00\t{day}.00\t-4.00\t202.51" for day in (1, 2, 3)]
    (tmp_path / DAYMET).write_text("\n".join(["  44.82", " 133.00", " 587675987", DAYMET_HEADER, *rows, ""]))
    return tmp_path


@pytest.fixture(scope="module")
def recorded(recordings: Path) -> dict[str, Checked]:
    return through(camels.find(recordings / "flood" / "camels_us"))


def test_recorded_rows_are_all_there(recorded: dict[str, Checked]) -> None:
    assert {name: result.accepted.height for name, result in recorded.items()} == {
        "sites": 4,
        "discharge": 12_784 + 12_510 + 1_096 + 1_096,
        "weather": 12_510 + 1_461 + 1_096,
        "forecast": 12_510 + 1_461 + 1_096,
    }
    assert all(result.quarantined.is_empty() for result in recorded.values())


def test_recorded_sites_keep_leading_zeros_and_have_names_and_places(recorded: dict[str, Checked]) -> None:
    rows = {row["site_id"]: row for row in recorded["sites"].accepted.rows(named=True)}
    assert set(rows) == {"01022500", "01547700", "07373000", "09512280"}
    assert rows["01022500"]["name"] == "Narraguagus River at Cherryfield, Maine"
    assert (rows["07373000"]["latitude"], rows["07373000"]["longitude"]) == (31.53629, -92.40847)


def test_recorded_flow_is_in_cubic_metres_and_its_flags_are_kept(recorded: dict[str, Checked]) -> None:
    first = at(recorded["discharge"], "07373000", "1980-01-01")
    assert first["discharge_m3s"] == pytest.approx(48 * CFS)
    assert (first["is_provisional"], first["is_estimated"], first["qualifiers"]) == (False, False, "A")
    assert at(recorded["discharge"], "01022500", "2000-01-01")["is_estimated"] is True
    assert recorded["discharge"].accepted.get_column("is_estimated").sum() == 908


def test_recorded_days_with_flag_m_are_missing_and_nothing_else_is(recorded: dict[str, Checked]) -> None:
    missing = recorded["discharge"].accepted.filter(pl.col("discharge_m3s").is_null())
    assert missing.height == 18
    assert missing.get_column("qualifiers").unique().to_list() == ["M"]


def test_days_on_which_a_river_is_dry_are_zero_and_not_missing(recorded: dict[str, Checked]) -> None:
    dry = recorded["discharge"].accepted.filter((pl.col("site_id") == "09512280") & (pl.col("discharge_m3s") == 0))
    assert dry.height == 6_200


def test_flow_is_never_taken_from_the_model_output(recorded: dict[str, Checked]) -> None:
    # Its OBS_RUN is 0 here, in mm a day; the gauge says otherwise
    assert at(recorded["discharge"], "07373000", "2011-07-15")["discharge_m3s"] != 0
    assert recorded["weather"].accepted.columns == ["site_id", "day", "precip_mm", "temp_mean_c"]


def test_recorded_weather_has_the_mean_of_daymets_extremes_and_the_models_own(recorded: dict[str, Checked]) -> None:
    daymet = at(recorded["weather"], "01022500", "2000-01-02")
    assert (daymet["precip_mm"], daymet["temp_mean_c"]) == (0.0, pytest.approx((4.81 - 8.61) / 2))
    assert at(recorded["weather"], "07373000", "1980-10-02")["temp_mean_c"] == 23.42


def test_weather_of_a_day_is_the_hindcast_of_the_day_before(recorded: dict[str, Checked]) -> None:
    forecast = at(recorded["forecast"], "01022500", "2000-01-01")
    weather = at(recorded["weather"], "01022500", "2000-01-02")
    assert (forecast["precip_next_mm"], forecast["temp_next_c"]) == (weather["precip_mm"], weather["temp_mean_c"])
    assert recorded["forecast"].accepted.get_column("is_hindcast").all()


def test_gauge_without_forcing_has_flow_and_no_weather(recorded: dict[str, Checked]) -> None:
    assert "09512280" not in recorded["weather"].accepted.get_column("site_id")
    assert "09512280" in recorded["discharge"].accepted.get_column("site_id")


def test_generated_folder_goes_through_whole(folder: Path) -> None:
    results = through(camels.find(folder))
    assert {name: result.accepted.height for name, result in results.items()} == {
        "sites": 1, "discharge": 3, "weather": 3, "forecast": 3,
    }  # fmt: skip
    assert at(results["weather"], "01010000", "2000-01-02") == {
        "site_id": "01010000", "day": date(2000, 1, 2), "precip_mm": 2.5, "temp_mean_c": -1.0,
    }  # fmt: skip
    assert results["sites"].accepted.row(0, named=True)["name"] == "CAMELS gauge 01010000"


@pytest.mark.parametrize("cut", [1, 4, 9, 14, 20, 26])
def test_flow_file_that_is_cut_in_a_row_loses_that_row_to_quarantine(folder: Path, cut: int) -> None:
    whole = (folder / FLOW).read_text()
    (folder / FLOW).write_text(whole[: 2 * len(whole) // 3 + cut])
    result = through(camels.find(folder))["discharge"]
    assert (result.accepted.height, len(reasons(result))) == (2, 1)
    assert "line 3 of 01010000_streamflow_qc.txt has" in reasons(result)[0]


@pytest.mark.parametrize("garbage", ["<html>", "\x00\x00\x00", "ÿþ one two three four five six seven", "#"])
def test_garbage_line_is_quarantined_with_its_number(folder: Path, garbage: str) -> None:
    whole = (folder / FLOW).read_text()
    (folder / FLOW).write_text(garbage + "\n" + whole, encoding="latin-1")
    result = through(camels.find(folder))["discharge"]
    assert result.accepted.height == 3
    assert reasons(result)[0].startswith("line 1 of")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("01010000 2000 02 30   1.00 A", "day is not a date"),
        ("01010000 2000 01 09   wet A", "discharge_m3s is not a float"),
        ("01010000 2000 01 09   -5.00 A", "discharge_m3s is below 0 m3/s"),
        ("01010000 2000 01 03   7.00 A", "doubled: site_id, day occurs more than once"),
    ],
)
def test_bad_flow_row_is_quarantined_with_its_reason(folder: Path, line: str, reason: str) -> None:
    with (folder / FLOW).open("a") as file:
        file.write(line + "\n")
    result = through(camels.find(folder))["discharge"]
    assert (reasons(result), result.accepted.height) == ([reason], 3)


def test_byte_order_mark_and_windows_line_ends_change_nothing(folder: Path) -> None:
    for name in (FLOW, DAYMET):
        text = (folder / name).read_text()
        (folder / name).write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    results = through(camels.find(folder))
    assert results["discharge"].accepted.get_column("site_id").unique().to_list() == ["01010000"]
    assert all(result.quarantined.is_empty() for result in results.values())


@pytest.mark.parametrize("cut", [3, 12, 30, 45])
def test_forcing_file_that_is_cut_in_a_row_loses_that_row_to_quarantine(folder: Path, cut: int) -> None:
    whole = (folder / DAYMET).read_text()
    (folder / DAYMET).write_text(whole[: whole.rindex("2000 01 03") + cut])
    results = through(camels.find(folder))
    assert (results["weather"].accepted.height, results["forecast"].accepted.height) == (2, 2)
    assert "line 7 has" in reasons(results["weather"])[0]
    assert "line 7 has" in reasons(results["forecast"])[0]


@pytest.mark.parametrize(
    ("tmax", "tmin", "mean", "reason"),
    [
        ("-999.00", "-4.00", None, None),
        ("3.00", "-999", None, None),
        ("3.00", "cold", None, "temp_mean_c is not a float"),
        ("hot", "-4.00", None, "temp_mean_c is not a float"),
        ("300.0", "300.0", None, "temp_mean_c is above 60 degC"),
    ],
)
def test_mean_temperature_needs_both_extremes(
    folder: Path, tmax: str, tmin: str, mean: float | None, reason: str | None
) -> None:
    text = (folder / DAYMET).read_text()
    (folder / DAYMET).write_text(text.replace("3.00\t-4.00", f"{tmax}\t{tmin}"))
    result = through(camels.find(folder))["weather"]
    assert reasons(result) == ([reason] if reason else [])
    if reason is None:
        assert at(result, "01010000", "2000-01-03")["temp_mean_c"] is mean


def test_forcing_without_a_header_is_refused_by_name(folder: Path) -> None:
    lines = (folder / DAYMET).read_text().splitlines()
    (folder / DAYMET).write_text("\n".join(line for line in lines if line != DAYMET_HEADER))
    with pytest.raises(ContractError, match=f"{DAYMET} has no header line that begins with YR or Year"):
        through(camels.find(folder))


def test_forcing_with_a_renamed_column_is_refused_with_its_likely_new_name(folder: Path) -> None:
    text = (folder / DAYMET).read_text()
    (folder / DAYMET).write_text(text.replace("prcp(mm/day)", "precip(mm/day)"))
    with pytest.raises(ContractError, match=r"no field 'prcp'; was it renamed to 'precip'\?"):
        through(camels.find(folder))


def test_empty_forcing_file_is_refused(folder: Path) -> None:
    (folder / DAYMET).write_text("")
    with pytest.raises(ContractError, match="no header line"):
        through(camels.find(folder))


def test_empty_flow_file_is_no_rows(folder: Path) -> None:
    (folder / FLOW).write_text("")
    assert through(camels.find(folder))["discharge"].received == 0


def test_folder_without_flow_is_refused_and_says_what_to_name(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"no \*_streamflow_qc\.txt below .*name the folder of a CAMELS-US"):
        camels.find(tmp_path)


def test_model_output_serves_where_there_is_no_daymet(folder: Path) -> None:
    (folder / DAYMET).unlink()
    row = "1980 10 01 12   0.0   4.5   0.0  21.91   4.76   1.02   0.24   0.51"
    (folder / "01010000_05_model_output.txt").write_text(f"{MODEL_HEADER}\n{row}\n")
    weather = through(camels.find(folder))["weather"].accepted
    assert weather.rows() == [("01010000", date(1980, 10, 1), 4.5, 21.91)]


def test_daymet_is_taken_before_all_other_forcing(folder: Path) -> None:
    for other in ("01010000_lump_maurer_forcing_leap.txt", "01010000_lump_nldas_forcing_leap.txt"):
        (folder / other).write_text((folder / DAYMET).read_text().replace(".50\t", ".99\t"))
    (folder / "01010000_05_model_output.txt").write_text(f"{MODEL_HEADER}\n")
    weather = through(camels.find(folder))["weather"].accepted
    assert weather.get_column("precip_mm").to_list() == [1.5, 2.5, 3.5]


def test_second_copy_of_a_gauge_changes_nothing(folder: Path) -> None:
    (folder / "copy").mkdir()
    for name in (FLOW, DAYMET):
        (folder / "copy" / name).write_bytes((folder / name).read_bytes())
    results = through(camels.find(folder))
    assert {name: result.received for name, result in results.items()} == {
        "sites": 1, "discharge": 3, "weather": 3, "forecast": 3,
    }  # fmt: skip


def test_attributes_without_gauge_numbers_are_refused_by_name(folder: Path) -> None:
    (folder / "camels_name.txt").write_text("gauge;huc_02;gauge_name\n01010000;01;Here\n")
    with pytest.raises(ContractError, match=r"camels_name\.txt has no field 'gauge_id'"):
        camels.find(folder)
