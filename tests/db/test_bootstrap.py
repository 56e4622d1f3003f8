"""Recorded history: files go the way of fetched answers, and bringing them twice changes nothing."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pytest
from db.helpers import DISCHARGE, FLOOD, days_of, fingerprint, values

from pipelines import bootstrap, lake
from pipelines.errors import NotFoundError
from pipelines.settings import PROJECT, Settings
from pipelines.window import Window

RECORDED = PROJECT.parent / "shared" / "data" / "flood" / "camels_us"
FIRST, DAYS = date(2001, 12, 1), 60
TABLES = ("raw_flood.sites", "raw_flood.discharge", "raw_flood.weather", "raw_flood.forecast")
GAUGES = ("01010000", "01020000")


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Two gauges of sixty days: one without a value on a day and with a line cut short, one without weather."""
    folder = tmp_path / "camels"
    for gauge in GAUGES:
        lines = [f"{gauge} {day:%Y %m %d} {100 + number}.00 A" for number, day in enumerate(days_of(FIRST, DAYS))]
        if gauge == GAUGES[0]:
            lines[10] = f"{gauge} {days_of(FIRST, DAYS)[10]:%Y %m %d} -999.00 M"
            lines[20] = f"{gauge} 2001 12"
        path = folder / "usgs_streamflow" / gauge[:2] / f"{gauge}_streamflow_qc.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines) + "\n")
    header = "45.0\n250.00\n500000000\nYear Mnth Day Hr\tdayl(s)\tprcp(mm/day)\ttmax(C)\ttmin(C)\n"
    rows = [
        f"{day:%Y %m %d} 12\t30000\t{number % 7}.50\t4.00\t-2.00" for number, day in enumerate(days_of(FIRST, DAYS))
    ]
    path = folder / "forcing" / f"{GAUGES[0]}_lump_cida_forcing_leap.txt"
    path.parent.mkdir()
    path.write_text(header + "\n".join(rows) + "\n")
    return folder


def bring(folder: Path, settings: Settings) -> tuple[Window, list[str]]:
    return bootstrap.bring(FLOOD, bootstrap.find(FLOOD, "camels", folder), settings)


def test_recorded_files_are_loaded_and_a_second_time_changes_nothing(recording: Path, settings: Settings) -> None:
    url = settings.require_database()
    window, gauges = bring(recording, settings)
    # A day's weather is also the forecast of the day before it
    assert window == Window(FIRST - timedelta(days=1), FIRST + timedelta(days=DAYS - 1))
    assert gauges == list(GAUGES)
    before = [fingerprint(url, table, versions=True) for table in TABLES]
    assert [count for count, _ in before] == [2, 2 * DAYS - 1, DAYS, DAYS]
    empty = "select day from raw_flood.discharge where discharge_m3s is null"
    assert values(url, empty) == [FIRST + timedelta(days=10)]
    first = f"select discharge_m3s from raw_flood.discharge where day = '{FIRST}'"
    assert values(url, first) == pytest.approx([100 * 0.3048**3] * 2)
    assert values(url, "select distinct is_hindcast from raw_flood.forecast") == [True]
    found = lake.read_quarantine(settings.lake, FLOOD, DISCHARGE)
    assert found.height == 1
    assert "line 21" in found["reason"][0]
    assert "3 fields, not 6" in found["reason"][0]

    features = fingerprint(url, "flood.features")
    assert features[0] == 2 * DAYS - 1 + 1, "the day of the broken line has its weather"
    bring(recording, settings)
    assert [fingerprint(url, table, versions=True) for table in TABLES] == before
    assert fingerprint(url, "flood.features") == features
    assert lake.read_quarantine(settings.lake, FLOOD, DISCHARGE).height == 1


@pytest.mark.slow
def test_the_recorded_camels_gauges_load_in_full(settings: Settings) -> None:
    if not RECORDED.exists():
        pytest.skip(f"recorded CAMELS-US files are not at hand: {RECORDED}")
    url = settings.require_database()
    _, gauges = bring(RECORDED, settings)
    assert fingerprint(url, "raw_flood.discharge")[0] == 27_486
    assert values(url, "select distinct site_id from raw_flood.discharge order by 1") == gauges
    assert values(url, "select count(*) from flood.features")[0] >= 27_486 - 100
    assert lake.read_quarantine(settings.lake, FLOOD, DISCHARGE).is_empty()


def test_a_folder_or_a_kind_that_does_not_exist_is_said(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="nothing at"):
        bootstrap.find(FLOOD, "camels", tmp_path / "nowhere")
    with pytest.raises(NotFoundError, match="cannot read --csv; it reads: --camels PATH"):
        bootstrap.find(FLOOD, "csv", tmp_path)
    with pytest.raises(NotFoundError, match="streamflow_qc"):
        bootstrap.find(FLOOD, "camels", tmp_path)


def test_files_without_a_readable_day_are_refused(tmp_path: Path, settings: Settings) -> None:
    (tmp_path / "01010000_streamflow_qc.txt").write_text("nothing to see\n")
    with pytest.raises(NotFoundError, match="No row of these files has a day"):
        bring(tmp_path, settings)
