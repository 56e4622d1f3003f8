"""The audit of a month: what it finds in tables that hold every fault once, and how it says it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from db.helpers import DISCHARGE, FLOOD, make_settings, window_of
from typer.testing import CliRunner

from headwater import cli
from headwater.commands import quality
from pipelines import audit, audit_columns, audit_page, audit_ranges, database, lake, ledger
from pipelines.errors import NotFoundError, SettingsError
from pipelines.settings import Settings
from pipelines.spec import Calendar, UseCase
from pipelines.window import Window

OCTOBER = Window(date(2025, 10, 1), date(2025, 10, 31))
FIRST = date(2024, 9, 1)
NOW = datetime(2025, 11, 5, 12, tzinfo=UTC)
ONE = replace(FLOOD, datasets=(DISCHARGE,))
"""Flood with discharge alone: the audit's ways are the same for each data set."""
VALUES = {
    "discharge_m3s": "10 + 5 * sin(n) + site",
    "precip_mm": "abs(3 * cos(n * 1.7))",
    "temp_mean_c": "10 * sin(n / 58.0) + cos(n * 2.3)",
    "season_sin": "sin(n / 58.0)",
    "is_hindcast": "n % 3 = 0",
    "discharge_next_m3s": "10 + 5 * sin(n + 1) + site",
}
"""Columns of thirteen months of four sites: `n` counts days, `site` is 0 to 3."""


def fill(url: str) -> None:
    """Features of all days up to NOW, and a ledger in which each day of October was loaded on its own."""
    database.ensure_ops(url)
    made = ", ".join(f"{value} as {name}" for name, value in VALUES.items())
    days = (date(2025, 11, 4) - FIRST).days
    database.query(url, f"""create schema flood; create table flood.features as
        select 'site ' || site as site_id, '{FIRST}'::date + n as day, {made}, null::text as remark
        from generate_series(0, {days}) as n, generate_series(0, 3) as site""")  # fmt: skip
    for offset in range(OCTOBER.days):
        loaded(url, OCTOBER.start + timedelta(days=offset))
    with ledger.entry(url, FLOOD, "features", "recompute", OCTOBER) as report:
        report.counts = {"accepted": 4}


def loaded(url: str, day: date, state: str = "loaded", reason: str | None = None, **counts: int) -> None:
    window = window_of(day)
    detail: dict[str, Any] = {"contract": "1.0", "days": [[day, day]] if state == "loaded" else [], "reason": reason}
    with ledger.entry(url, FLOOD, "discharge", "check", window) as report:
        report.state, report.detail = state, detail
        report.counts = {"received": 4, "accepted": 4, "quarantined": 0} | counts
    with ledger.entry(url, FLOOD, "discharge", "load", window):
        pass


@pytest.fixture
def settings(url: str, tmp_path: Path) -> Settings:
    fill(url)
    return make_settings(tmp_path, url)


def said(settings: Settings, use_case: UseCase = ONE) -> tuple[str, dict[str, str]]:
    """The verdict, and each reason with its level."""
    found = audit.run(use_case, "2025-10", settings, NOW)
    return found["verdict"], {reason["said"]: reason["level"] for reason in found["reasons"]}


def spoil(settings: Settings, assignment: str, where: str = "true") -> None:
    inside = f"day between '{OCTOBER.start}' and '{OCTOBER.end}' and {where}"
    database.query(settings.require_database(), f"update flood.features set {assignment} where {inside}")


def test_a_month_in_which_nothing_is_odd_is_sound(settings: Settings) -> None:
    found = audit.run(ONE, "2025-10", settings, NOW)
    assert (found["verdict"], found["reasons"]) == ("sound", [])
    assert (found["features"]["rows"], found["features"]["usual"]) == (4 * 31, 4)
    assert [day["state"] for day in found["datasets"][0]["days"]] == ["loaded"] * 31
    assert found["datasets"][0]["checks"] == {
        "windows": 31, "beyond": 0, "received": 124, "accepted": 124, "quarantined": 0,
    }  # fmt: skip


def test_scores_of_the_month_s_days_are_shown_and_those_below_their_gate_are_worth_a_look(settings: Settings) -> None:
    database.query(
        settings.require_database(),
        """insert into ops.quality (use_case, dataset, day, dimension, score, threshold, passed)
           select 'flood', 'discharge', '2025-10-01'::date + n, 'completeness', 1 - (n = 4)::int * 0.25, 0.995, n <> 4
           from generate_series(0, 30) as n""",
    )
    found = audit.run(ONE, "2025-10", settings, NOW)
    (one,) = found["quality"]
    assert (one["days"], one["least"], one["below"]) == (31, 0.75, ["2025-10-05"])
    reason = "discharge: completeness below its gate of 99.5% on 1 day (2025-10-05)"
    assert found["reasons"] == [{"level": "look", "said": reason}]
    page = Path(found["page"]).read_text()
    assert "daily scores between 0.75 and 1" in page
    assert "75 %" in page


def test_the_figures_of_a_column_are_those_of_its_rows(settings: Settings) -> None:
    found = audit.run(ONE, "2025-10", settings, NOW)
    (column,) = [one for one in found["features"]["columns"] if one["name"] == "discharge_m3s"]
    rows = database.read_frame(settings.require_database(), "select day, discharge_m3s as v from flood.features")
    inside = rows.filter(pl.col("day").is_between(OCTOBER.start, OCTOBER.end))["v"]
    before = rows.filter(pl.col("day").is_between(date(2024, 10, 1), date(2025, 9, 30)))["v"]
    for figures, values in ((column["now"], inside), (column["before"], before)):
        expected = [values.len(), 0, values.min(), values.mean(), values.max(), values.std()]
        assert [figures[name] for name in ("rows", "null_share", "min", "mean", "max", "std")] == pytest.approx(
            expected
        )
    assert len(column["means"]) == 13


@pytest.mark.parametrize(
    ("assignment", "where", "level", "reason"),
    [
        ("discharge_m3s = -4", "day = '2025-10-11'", "bad", r"discharge_m3s: 4 values are outside of 0 to 300000"),
        ("season_sin = 'NaN'", "day = '2025-10-11'", "bad", r"season_sin: 4 values are not finite"),
        ("precip_mm = null", "true", "bad", r"precip_mm: empty in the whole month, and not before"),
        ("precip_mm = null", "day < '2025-10-05'", "look", r"precip_mm: empty in 13% of the rows, and in at most 0%"),
        ("season_sin = 0.5", "true", "look", r"season_sin: always 0.5, and in no month before"),
        ("season_sin = season_sin + 9", "true", "look", r"season_sin: mean .* is \d+ robust deviations from "),
        (
            "temp_mean_c = temp_mean_c * 100",
            "true",
            "look",
            r"temp_mean_c: standard deviation .* times the usual month",
        ),
        ("is_hindcast = true", "true", "look", r"is_hindcast: mean 1 is \d+ robust deviations from 0.3"),
    ],
)
def test_an_odd_column_is_named_with_what_is_odd(
    settings: Settings, assignment: str, where: str, level: str, reason: str
) -> None:
    spoil(settings, assignment, where)
    verdict, reasons = said(settings)
    assert [reasons[one] for one in reasons if re.match(reason, one)] == [level], reasons
    assert verdict == ("bad" if "bad" in reasons.values() else "look")


def test_a_season_is_no_shift_and_a_column_that_was_constant_before_is_not_odd(settings: Settings) -> None:
    spoil(settings, "precip_mm = 0")
    database.query(settings.require_database(), "update flood.features set precip_mm = 0 where day < '2024-11-01'")
    assert not [reason for reason in said(settings)[1] if "always" in reason]


def test_labels_that_cannot_be_known_yet_are_not_empty(settings: Settings) -> None:
    spoil(settings, "discharge_next_m3s = null", "day > '2025-10-20'")
    far = replace(ONE, label_days=15)  # of the newest day, 4 November
    assert said(settings, far) == ("sound", {})
    assert "discharge_next_m3s: empty in 35% of the rows" in " ".join(said(settings)[1])


def test_days_that_are_not_there_are_told_apart(settings: Settings) -> None:
    url = settings.require_database()
    database.query(url, "delete from ops.ledger where window_start between '2025-10-03' and '2025-10-09'")
    loaded(url, date(2025, 10, 5), "missing", "the answer holds no rows")
    loaded(url, date(2025, 10, 6), "late", "only corrections came")
    loaded(url, date(2025, 10, 9), "quarantined", "no row fits the contract", accepted=0, quarantined=4)
    verdict, reasons = said(settings)
    assert verdict == "bad"
    assert reasons == {
        "discharge: 1 day missing (2025-10-05)": "bad",
        "discharge: 1 day in quarantine (2025-10-09)": "bad",
        "discharge: 4 days never asked for (2025-10-03..2025-10-04, 2025-10-07..2025-10-08)": "bad",
        "discharge: 1 day late (2025-10-06)": "look",
    }


def test_days_on_which_nothing_is_expected_are_no_gaps(settings: Settings) -> None:
    url = settings.require_database()
    weekend = "extract(isodow from {}) > 5".format
    database.query(url, f"delete from flood.features where {weekend('day')};"
                        f" delete from ops.ledger where {weekend('window_start')}")  # fmt: skip
    assert said(settings, replace(ONE, calendar=Calendar(kind="weekdays"))) == ("sound", {})
    assert "features: 8 days without a row (2025-10-04..2025-10-05, " in " ".join(said(settings)[1])


def test_gaps_thin_days_and_doubled_keys_are_counted(settings: Settings) -> None:
    url = settings.require_database()
    database.query(
        url,
        """delete from flood.features where day = '2025-10-20';
           delete from flood.features where day = '2025-10-21' and site_id <> 'site 0';
           insert into flood.features select * from flood.features where day = '2025-10-22'""",
    )
    assert said(settings)[1] == {
        "features: 1 day without a row (2025-10-20)": "bad",
        "features: 4 keys have more than one row": "bad",
        "features: 1 day with less than half of the usual rows (2025-10-21)": "look",
    }


def test_rows_in_quarantine_are_counted_by_reason_and_those_of_other_months_left_out(settings: Settings) -> None:
    for day, rows in ((date(2025, 10, 7), 3), (date(2025, 9, 7), 2)):
        refused = pl.DataFrame({"reason": ["too high"] * rows, "raw": ["{}"] * rows})
        lake.write_quarantine(settings.lake, FLOOD, DISCHARGE, window_of(day), refused, "landing/x")
    assert said(settings)[1] == {"discharge: 3 rows in quarantine": "look"}
    found = audit.run(ONE, "2025-10", settings, NOW)
    assert found["datasets"][0]["quarantine"] == [{"reason": "too high", "rows": 3}]


def test_what_the_use_cases_own_checks_list_is_counted_and_shown(settings: Settings) -> None:
    url = settings.require_database()
    database.query(
        url,
        """create schema flood_quality;
        create view flood_quality.jumps as select site_id, day, 'a jump' as finding, discharge_m3s from flood.features
            where day in ('2025-10-02', '2025-09-02');
        create table flood_quality.nothing (finding text, day date);
        create view flood_quality.odd as select 1 as one""",
    )
    assert said(settings)[1] == {
        "jumps: 4 findings (4 × a jump)": "look",
        "odd: is not read, for it has no columns day and finding": "look",
    }
    jumps, nothing, _ = audit.run(ONE, "2025-10", settings, NOW)["findings"]
    assert (jumps["rows"], jumps["columns"][:2]) == (4, ["day", "finding"])
    assert jumps["first"][0][:2] == ["2025-10-02", "a jump"]
    assert (nothing["rows"], nothing["first"]) == (0, [])


def test_the_newest_recompute_is_told(settings: Settings) -> None:
    url = settings.require_database()
    database.query(url, "update ops.ledger set at = '2025-08-31' where step = 'recompute'")
    assert said(settings)[1] == {"recompute: the last was on 2025-08-31, before this month": "look"}
    database.query(url, "delete from ops.ledger where step = 'recompute'")
    assert said(settings)[1] == {"recompute: the features were never computed anew": "look"}
    with pytest.raises(KeyError), ledger.entry(url, FLOOD, "features", "recompute", OCTOBER):
        raise KeyError("x")
    assert said(settings)[0] == "bad"


def test_only_days_that_are_due_are_looked_at(settings: Settings) -> None:
    november = audit.run(ONE, "2025-11", settings, NOW)
    assert (november["first_day"], november["last_day"], november["is_whole"]) == ("2025-11-01", "2025-11-04", False)
    assert audit.run(ONE, None, settings, NOW)["month"] == "2025-10"
    with pytest.raises(SettingsError, match="No day of 2025-12 is due yet in flood; the newest is 2025-11-04"):
        audit.run(ONE, "2025-12", settings, NOW)
    with pytest.raises(SettingsError, match="'2025-13' is not a month; write it as YYYY-MM"):
        audit.run(ONE, "2025-13", settings, NOW)


def test_the_last_whole_month_is_that_of_the_use_cases_own_clock(settings: Settings) -> None:
    midnight = datetime(2025, 10, 31, 20, tzinfo=UTC)
    assert audit.run(ONE, None, settings, midnight)["month"] == "2025-09"
    assert audit.run(replace(ONE, timezone="Asia/Kolkata"), None, settings, midnight)["month"] == "2025-10"


def test_without_features_it_says_how_to_bring_them_in(url: str, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="flood has no features yet; bring history in"):
        audit.run(ONE, "2025-10", make_settings(tmp_path, url), NOW)


class Page(HTMLParser):
    """What a page refers to, and its elements."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("href", "src", "srcset", "data")]


def test_the_page_is_one_file_without_scripts_that_says_the_verdict_and_escapes_what_it_shows(
    settings: Settings,
) -> None:
    url = settings.require_database()
    loaded(url, date(2025, 10, 5))
    database.query(url, "delete from ops.ledger where window_start = '2025-10-05'")
    loaded(url, date(2025, 10, 5), "missing", "<script>alert(1)</script>")
    spoil(settings, "discharge_m3s = -4", "day = '2025-10-11'")
    found = audit.run(ONE, "2025-10", settings, NOW)
    path = Path(found["page"])
    text = path.read_text()
    page = Page(text)
    assert path == settings.reports / "flood" / "quality" / "2025-10.html"
    assert json.loads(path.with_suffix(".json").read_text()) == found
    assert sorted(item.name for item in path.parent.iterdir()) == ["2025-10.html", "2025-10.json"]
    assert not {"script", "img", "link", "iframe", "object"} & set(page.tags)
    assert page.links
    assert all(link.startswith("#") for link in page.links)
    assert "url(" not in text
    assert "&lt;script&gt;alert(1)" in text
    assert (
        text.index("Not sound")
        < text.index("discharge_m3s: 4 values are outside of 0 to 300000")
        < text.index("<main>")
    )
    assert len(text) < 200_000
    row = ledger.history(url, FLOOD, 1)[0]
    assert (row["step"], row["state"], row["detail"]["verdict"]) == ("audit", "loaded", "bad")
    assert len(json.dumps(audit.summary(found))) < 2000


def test_the_command_prints_the_verdict_and_to_programs_all_of_it(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quality, "get_settings", lambda: settings)
    answer = CliRunner().invoke(cli.app, ["report", "quality", "flood", "--month", "2025-10"])
    assert "2025-10-01 to 2025-10-31 of flood: not sound" in answer.stdout
    assert "! weather: 31 days never asked for (2025-10-01..2025-10-31)" in answer.stdout
    told = CliRunner().invoke(cli.app, ["report", "quality", "flood", "--month", "2025-10", "--json"])
    assert json.loads(told.stdout)["verdict"] == "bad"


def test_months_are_pooled_as_if_their_rows_were_taken_together() -> None:
    rows = [[1.0, 2.0, 4.0], [10.0, 12.0], [7.0]]
    means, stds = [sum(one) / len(one) for one in rows], [pl.Series(one).std() for one in rows]
    parts = [audit_columns.Stats(len(one) + 1, len(one), 0, 0, min(one), mean, max(one), std)
             for one, mean, std in zip(rows, means, stds, strict=True)]  # fmt: skip
    whole = pl.Series([value for one in rows for value in one])
    found = audit_columns.pooled(parts)
    assert (found.rows, found.values) == (9, 6)
    assert (found.low, found.mean, found.high, found.std) == pytest.approx((1, whole.mean(), 12, whole.std()))


def test_ranges_are_those_of_the_dbt_tests_and_else_of_the_contract() -> None:
    found = audit_ranges.ranges(FLOOD)
    assert found["precip_sum_90d_mm"] == audit_ranges.Range(0, None)
    assert found["temp_mean_c"] == audit_ranges.Range(-90, 60)
    assert found["temp_next_c"] == audit_ranges.Range(-90, 60), "only the contract speaks of it"
    told = [str(audit_ranges.Range(*bounds)) for bounds in ((0, None), (None, 5), (-90, 60))]
    assert told == ["0 and more", "up to 5", "-90 to 60"]


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (0.0, "0"), (12.34567, "12.35"), (-4123.4, "-4,123"), (0.00001234, "1.23e-05"), (1.5e18, "1.5e+18")],
)
def test_figures_are_told_in_four_digits(value: float | None, text: str) -> None:
    assert audit_page.figure(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(None, "–"), (0, "0 %"), (0.0001, "<0.1 %"), (0.123, "12.3 %"), (1, "100 %")]
)
def test_hardly_any_is_not_none(value: float | None, text: str) -> None:
    assert audit_page.share(value) == text
