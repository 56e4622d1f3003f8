"""The exchange's files through landing, contract, lake and Postgres: what is loaded, refused, and said of each day."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable
from datetime import date, timedelta
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from db.helpers import make_settings, values
from unit.equities.files import DAY, bytes_of, delivery, legacy, name_of, udiff, zipped

from pipelines import bootstrap, coverage, database, ledger, quarantine, steps
from pipelines.calendar import expected_days
from pipelines.errors import ContractError, NotFoundError
from pipelines.landing import Received
from pipelines.registry import get_use_case
from pipelines.settings import Settings
from pipelines.use_cases.equities import source
from pipelines.window import Window

EQUITIES = get_use_case("equities")
PRICES, ACTIONS = (EQUITIES.dataset(name) for name in ("prices", "actions"))


def bring(kind: str, path: Path, settings: Settings) -> Window:
    return bootstrap.load(EQUITIES, bootstrap.find(EQUITIES, kind, path), settings)[0]


def contents(settings: Settings, dataset: str = "prices") -> dict[str, Any]:
    """Count and hash of a raw table's rows, whenever they were received."""
    columns = ", ".join(column.name for column in EQUITIES.dataset(dataset).columns)
    rows = f"(select {columns} from raw_equities.{dataset}) as t"
    sql = f"select count(*) as n, md5(string_agg(t::text, '|' order by t::text)) as hash from {rows}"
    return database.query(settings.require_database(), sql)[0]


def states(settings: Settings, window: Window, dataset: str = "prices") -> dict[date, tuple[str, str | None]]:
    found = coverage.day_states(settings.require_database(), EQUITIES, window)
    return {item.day: (item.state, item.reason) for item in found if item.dataset == dataset}


def loaded(settings: Settings, window: Window) -> set[date]:
    return {day for day, (state, _) in states(settings, window).items() if state == "loaded"}


def checks(settings: Settings) -> list[dict[str, Any]]:
    """The ledger's checks, the oldest first; in each, nothing is lost."""
    rows = [row for row in ledger.history(settings.require_database(), EQUITIES, 1000) if row["step"] == "check"]
    for row in rows:
        if row["state"] != "failed":
            assert row["received"] == row["accepted"] + row["quarantined"]
    return rows[::-1]


def write(folder: Path, files: Iterable[tuple[str, bytes]]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, body in files:
        (folder / name).write_bytes(body)
    return folder


def of(day: date, layout: str) -> tuple[str, bytes]:
    body = bytes_of({"legacy": legacy, "udiff": udiff, "delivery": delivery}[layout](day))
    name = name_of(layout, day)
    return name, zipped((name.removesuffix(".zip"), body)) if name.endswith(".zip") else body


# --- made-up files


def test_layouts_are_loaded_side_by_side_and_again_changes_nothing(tmp_path: Path, settings: Settings) -> None:
    folder = write(tmp_path / "in", [of(DAY, layout) for layout in ("legacy", "udiff", "delivery")])
    assert bring("bhavcopy", folder, settings) == Window(DAY, DAY)
    before = contents(settings)
    assert before["n"] == 12
    assert checks(settings)[-1]["state"] == "loaded"
    bring("bhavcopy", folder, settings)
    again = checks(settings)[-1]
    assert (again["inserted"], again["updated"], again["unchanged"]) == (0, 0, 12)
    assert contents(settings) == before


def test_any_order_of_loads_gives_equal_tables(tmp_path: Path, new_database: Callable[[], str]) -> None:
    layouts = ("legacy", "udiff", "delivery")
    folders = {
        layout: write(tmp_path / layout, [of(DAY + timedelta(days=at), layout) for at in (0, 1, 2)])
        for layout in layouts
    }
    ends = []
    for at, order in enumerate([*permutations(layouts)][::2]):
        settings = make_settings(tmp_path / f"home{at}", new_database())
        for layout in order:
            bring("bhavcopy", folders[layout], settings)
        ends.append(contents(settings))
        assert loaded(settings, Window(DAY, DAY + timedelta(days=2))) == {DAY + timedelta(days=day) for day in range(3)}
    assert ends[0]["n"] == 36
    assert all(end == ends[0] for end in ends)


def test_one_broken_file_in_a_folder_keeps_no_other_out_and_its_day_says_why(
    tmp_path: Path, settings: Settings
) -> None:
    monday = [DAY + timedelta(days=at) for at in range(5)]
    cut = bytes_of(legacy(monday[1]))
    renamed = bytes_of(legacy(monday[2])).replace(b"PREVCLOSE", b"PREVIOUS_CLOSE")
    folder = write(
        tmp_path / "in",
        [of(monday[0], "legacy"), (name_of("legacy", monday[1]), cut[: cut.index(b"GAMMA") + 9]),
         (name_of("legacy", monday[2]), renamed), (name_of("udiff", monday[3]), b"<html>403</html>"),
         of(monday[4], "udiff")],
    )  # fmt: skip
    bring("bhavcopy", folder, settings)
    said = states(settings, Window(monday[0], monday[4] + timedelta(days=2)))
    # Friday 8 March 2024 was a holiday, but a file that is there is loaded all the same
    assert [state for state, _ in said.values()] == [
        "loaded", "quarantined", "quarantined", "quarantined", "loaded", "not-expected", "not-expected"
    ]  # fmt: skip
    reasons = [reason or "" for _, reason in said.values()]
    assert "is cut off in line 4" in reasons[1]
    assert "was it renamed to 'PREVIOUS_CLOSE'?" in reasons[2]
    assert "is a web page" in reasons[3]
    (row,) = checks(settings)
    assert (row["state"], row["received"], row["accepted"], row["quarantined"]) == ("loaded", 16, 8, 8)
    kept = quarantine.rows(EQUITIES, settings, "prices")
    assert kept.height == 8
    assert {json.loads(raw)["day"] for raw in kept["raw"]} == {str(day) for day in monday[1:4]}


@pytest.mark.parametrize(
    ("name", "body", "said"),
    [
        (name_of("legacy"), bytes_of(legacy())[:-30], "is cut off"),
        (name_of("udiff"), zipped(("a.csv", bytes_of(udiff())))[:-50], "is a cut or broken archive"),
        (name_of("delivery"), b"<html>", "is a web page"),
        (name_of("delivery"), bytes_of(delivery(DAY - timedelta(days=3))), "holds rows of 2024-03-01: a stale copy"),
        (name_of("delivery"), b"", "is empty"),
    ],
)
def test_a_broken_file_alone_ends_in_its_named_state(
    tmp_path: Path, settings: Settings, name: str, body: bytes, said: str
) -> None:
    assert bring("bhavcopy", write(tmp_path / "in", [(name, body)]), settings) == Window(DAY, DAY)
    (row,) = checks(settings)
    assert row["state"] == "quarantined"
    assert said in row["detail"]["reason"]
    state, reason = states(settings, Window(DAY, DAY))[DAY]
    assert state == "quarantined"
    assert said in str(reason)
    assert all(said in reason for reason in quarantine.rows(EQUITIES, settings, "prices")["reason"])
    assert contents(settings)["n"] == 0


def test_a_file_of_another_shape_alone_is_a_broken_contract_in_the_ledger(tmp_path: Path, settings: Settings) -> None:
    body = bytes_of(udiff()).replace(b"ClsPric", b"ClosePric")
    with pytest.raises(ContractError, match="no field 'ClsPric'; was it renamed to 'ClosePric'"):
        bring("bhavcopy", write(tmp_path / "in", [(name_of("udiff"), body)]), settings)
    (row,) = checks(settings)
    assert row["state"] == "failed"
    assert "ClosePric" in row["detail"]["error"]


def test_a_file_without_a_day_anywhere_is_refused(tmp_path: Path, settings: Settings) -> None:
    path = write(tmp_path / "in", [("unnamed.csv", b"<html>")]) / "unnamed.csv"
    with pytest.raises(NotFoundError, match="No row of these files has a day"):
        bring("bhavcopy", path, settings)


def test_no_records_is_a_missing_day(tmp_path: Path, settings: Settings) -> None:
    bring("bhavcopy", write(tmp_path / "in", [(name_of("legacy"), b"NO RECORDS,,,\n")]), settings)
    assert states(settings, Window(DAY, DAY))[DAY][0] == "missing"


def test_files_far_apart_say_nothing_of_the_days_between(tmp_path: Path, settings: Settings) -> None:
    later = date(2024, 6, 3)
    bring("bhavcopy", write(tmp_path / "in", [of(DAY, "legacy"), of(later, "legacy")]), settings)
    said = states(settings, Window(DAY, later))
    assert (said[DAY][0], said[later][0]) == ("loaded", "loaded")
    assert {state for day, (state, _) in said.items() if DAY < day < later} == {"none", "not-expected"}
    assert len(checks(settings)) == 2


def test_a_file_that_is_mended_clears_its_day(tmp_path: Path, settings: Settings) -> None:
    name, body = of(DAY, "delivery")
    bring("bhavcopy", write(tmp_path / "in", [(name, body[:-40])]), settings)
    assert states(settings, Window(DAY, DAY))[DAY][0] == "quarantined"
    bring("bhavcopy", write(tmp_path / "in", [(name, body)]), settings)
    assert states(settings, Window(DAY, DAY))[DAY][0] == "loaded"
    assert quarantine.rows(EQUITIES, settings, "prices").is_empty()


# --- a day as the daily run sees it


def day_of(settings: Settings, day: date, files: dict[date, bytes | None]) -> dict[str, Any]:
    """Check and load of a day whose answers these are, one a session; None is a file that is not there."""
    received = [
        Received(body or b"", name_of("legacy", session), "absent" if body is None else "csv", {"day": str(session)})
        for session, body in files.items()
    ]
    steps.land(EQUITIES, PRICES, Window(day, day), received, settings)
    found = steps.check(EQUITIES, PRICES, Window(day, day), settings)
    steps.load(EQUITIES, PRICES, Window(day, day), settings)
    return found


def test_the_day_of_a_daily_run_is_named_by_its_own_file(settings: Settings) -> None:
    days = [DAY + timedelta(days=at) for at in range(4)]
    good = {day: bytes_of(legacy(day)) for day in days}
    assert day_of(settings, days[0], {days[0]: good[days[0]]})["state"] == "loaded"
    late = day_of(settings, days[1], {days[0]: good[days[0]], days[1]: None})
    assert late["state"] == "missing", "there is no such file"
    stale = day_of(settings, days[2], {days[0]: good[days[0]], days[1]: good[days[1]], days[2]: good[days[1]]})
    assert stale["state"] == "quarantined", "the file of the day before, under today's name"
    cut = day_of(settings, days[3], {days[2]: good[days[2]], days[3]: good[days[3]][:-60]})
    assert cut["state"] == "quarantined"
    said = states(settings, Window(days[0], days[3]))
    assert [state for state, _ in said.values()] == ["loaded", "loaded", "loaded", "quarantined"]
    assert "is cut off" in str(said[days[3]][1])
    assert values(settings.require_database(), "select distinct day from raw_equities.prices order by 1") == days[:3]


def test_a_day_with_an_impossible_row_is_loaded_without_it(settings: Settings) -> None:
    body = bytes_of(legacy()).replace(b"100,102.5,99,101", b"100,102.5,99,98")
    found = day_of(settings, DAY, {DAY: body})
    assert (found["state"], found["accepted"], found["quarantined"]) == ("loaded", 3, 1)


def test_days_in_a_row_without_a_file_are_missing_and_no_copies_of_each_other(settings: Settings) -> None:
    for at in range(2):
        day = DAY + timedelta(days=at)
        assert day_of(settings, day, {day: None})["state"] == "missing"
    assert {reason for _, reason in states(settings, Window(DAY, DAY + timedelta(days=1))).values()} == {
        "the answer holds no rows"
    }


# --- actions


def test_actions_before_any_prices_and_prices_before_any_actions_are_loaded(tmp_path: Path, settings: Settings) -> None:
    header = "SERIES,SYMBOL,SECURITY,RECORD_DT,BC_STRT_DT,BC_END_DT,EX_DT,ND_STRT_DT,ND_END_DT,PURPOSE"
    lines = [header, "EQ,ALPHA,Alpha,04/03/2024, , ,04/03/2024, , ,BONUS 1:2", "EQ,BETA,Beta, , , ,05/03/2024, , ,EGM"]
    closures = write(tmp_path / "in", [("Bc040324.csv", bytes_of(lines))])
    for kinds in (["actions", "bhavcopy"], ["bhavcopy", "actions"]):
        url = settings.require_database()
        write(tmp_path / "in", [of(DAY, "legacy")])
        for kind in kinds:
            bring(kind, closures, settings)
        told = "symbol || ' ' || kind || ' ' || coalesce(bonus_factor::text, '-')"
        assert values(url, f"select {told} from raw_equities.actions order by 1") == ["ALPHA bonus 1.5", "BETA other -"]
        assert contents(settings)["n"] == 4
        database.query(url, "truncate raw_equities.actions")
        database.query(url, "truncate raw_equities.prices")


# --- recordings


@pytest.fixture(scope="session")
def nse(recordings: Path) -> Path:
    return recordings / "nse"


@pytest.mark.slow
def test_the_recorded_year_is_loaded_with_a_state_for_every_day(nse: Path, tmp_path: Path, settings: Settings) -> None:
    year = Window.parse("2019-07-01", "2020-06-30")
    assert bring("bhavcopy", nse / "legacy_cm_zip", settings) == year
    (row,) = checks(settings)
    assert (row["state"], row["accepted"], row["quarantined"]) == ("loaded", 476_763, 0)
    url = settings.require_database()
    assert values(url, "select count(distinct day) from raw_equities.prices") == [244]
    assert values(url, "select count(*) from raw_equities.prices where series = 'NA'") == [1_252]
    assert values(url, "select count(*) from raw_equities.prices where last_inr is null") == [192]
    special = {date(2019, 10, 27), date(2020, 2, 1)}
    sessions = set(expected_days(EQUITIES.calendar, year))
    said = states(settings, year)
    assert loaded(settings, year) == sessions - special
    assert {said[day][0] for day in special} == {"missing"}
    assert {said[day][0] for day in said if day not in sessions} == {"not-expected"}
    before = contents(settings)
    bring("bhavcopy", nse / "legacy_cm_zip", settings)
    assert checks(settings)[-1]["unchanged"] == 476_763
    assert contents(settings) == before
    bring("bhavcopy", nse / "gapfill_sec_format", settings)
    said = states(settings, year)
    assert loaded(settings, year) == sessions
    assert {state for state, _ in said.values()} == {"loaded", "not-expected"}
    assert values(url, "select count(*) from raw_equities.prices where layout = 'delivery'") == [2_931]


@pytest.mark.slow
def test_recorded_deliveries_and_udiff_files_of_the_same_days_lie_side_by_side(
    nse: Path, tmp_path: Path, new_database: Callable[[], str]
) -> None:
    folders = ("sec_bhavdata_full_zip", "udiff_derived_not_recorded", "udiff")
    window, ends = Window.parse("2024-06-01", "2024-07-31"), []
    for at, order in enumerate((folders, folders[::-1])):
        settings = make_settings(tmp_path / str(at), new_database())
        for folder in order:
            bring("bhavcopy", nse / folder, settings)
        checks(settings)
        ends.append(contents(settings))
        assert loaded(settings, window) == set(expected_days(EQUITIES.calendar, window))
        said = states(settings, window)
        assert {said[day][0] for day in (date(2024, 6, 17), date(2024, 7, 17))} == {"not-expected"}
    assert ends[0] == ends[1]
    layouts = "select layout || ' ' || count(*) from raw_equities.prices group by layout order by 1"
    assert values(settings.require_database(), layouts) == ["delivery 106836", "udiff 38300"]
    reasons = quarantine.rows(EQUITIES, settings, "prices")["reason"].value_counts(sort=True).rows()
    assert reasons == [
        ("the file of 2024-07-17 holds rows of 2024-07-16: a stale copy", 2_603),
        ("the file of 2024-06-17 holds rows of 2024-06-14: a stale copy", 2_572),
    ]


def test_recorded_broken_files_end_in_their_named_states(nse: Path, settings: Settings) -> None:
    bring("bhavcopy", nse / "dirty", settings)
    found = {row["window_start"]: row for row in checks(settings)}
    old, new = found[date(2010, 6, 10)], found[date(2022, 5, 3)]
    assert (old["state"], old["accepted"], old["quarantined"]) == ("loaded", 1_382, 0)
    assert (new["state"], new["accepted"], new["quarantined"]) == ("quarantined", 0, 2_249)
    said = states(settings, Window.parse("2022-05-03", "2022-05-04"))
    assert said[date(2022, 5, 3)][0] == "not-expected", "a holiday"
    state, reason = said[date(2022, 5, 4)]
    assert state == "quarantined"
    assert "is cut off in line 25" in str(reason)
    assert values(settings.require_database(), "select count(*) from raw_equities.prices where trades is null") == [
        1_382
    ]


@pytest.mark.parametrize(
    "name", ["sec_bhavdata_full_03052022.stale_holiday_20220502.csv", "sec_bhavdata_full_04052022.truncated_24rows.csv"]
)
def test_a_recorded_broken_file_alone_is_quarantined(nse: Path, settings: Settings, name: str) -> None:
    bring("bhavcopy", nse / "dirty" / name, settings)
    (row,) = checks(settings)
    assert (row["state"], row["accepted"]) == ("quarantined", 0)
    assert row["quarantined"] in (2_225, 24)


def test_recorded_actions_are_loaded(nse: Path, tmp_path: Path, settings: Settings) -> None:
    reference = nse / "reference"
    bring("actions", reference / "PR160125_sample.zip", settings)
    url = settings.require_database()
    kinds = "select kind || ' ' || count(*) from raw_equities.actions group by kind order by 1"
    (row,) = checks(settings)
    assert (row["state"], row["received"], row["quarantined"]) == ("loaded", 85, 9)
    assert values(url, "select count(*) from raw_equities.actions where split_factor = 5") == [2]
    assert values(url, "select count(*) from raw_equities.actions where bonus_factor = 3") == [5]
    assert any("rights" in str(kind) for kind in values(url, kinds))
    bring("actions", reference / "nse_api_sample_actions.json", settings)
    assert values(url, "select symbol from raw_equities.actions where day = '2023-10-17'") == ["GENSOL"]
    bring("multipliers", reference / "csvk_multipliers.csv", settings)
    assert values(url, "select count(*) from raw_equities.actions where kind = 'multiplier'") == [1_681]


def test_the_recorded_answer_of_no_records_has_no_rows(nse: Path, tmp_path: Path, settings: Settings) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    shutil.copy(nse / "reference" / "block_no_records.csv", folder / name_of("delivery"))
    bring("bhavcopy", folder, settings)
    assert checks(settings)[0]["received"] == 0


def test_every_kind_of_history_says_what_it_reads() -> None:
    assert list(source.RECORDED) == ["bhavcopy", "actions", "multipliers"]
