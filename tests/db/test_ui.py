"""The pages through the application itself, on a warehouse of some weeks, with a stand-in for Airflow's users."""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from db.helpers import FLOOD, make_settings
from db.ui import Person, pages
from starlette.testclient import TestClient

from benchmarks.pages_rows import fill
from pipelines import alerts, database, shared
from pipelines.settings import Settings, get_settings

TODAY = datetime.now(UTC).date()
DAYS = 40


@pytest.fixture(scope="module")
def filled(airflow: None, new_database: Callable[[], str], tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings of a warehouse with forty days of everything."""
    home, url = tmp_path_factory.mktemp("ui"), new_database()
    fill(url, DAYS, 0.02)
    reports = home / "reports" / "flood" / "drift"
    reports.mkdir(parents=True)
    (reports / f"{TODAY}.html").write_text("<html><script>1</script>drifted</html>")
    (reports / f"{TODAY}.json").write_text('{"verdict": "drift"}')
    days = home / "reports" / "flood" / "quality" / "days"
    days.mkdir(parents=True)
    for kind in ("csv", "parquet"):
        (days / f"{TODAY}.{kind}").write_text(f"the {kind} of a day")
    (days / f".{TODAY}.csv.part").write_text("half of it")
    (days.parent / "2026-03.html").write_text("<html>the audit of a month</html>")
    (home / "secret.html").write_text("not for you")
    return make_settings(home, url).model_copy(update={"mlflow_url": "http://127.0.0.1:9"})


@pytest.fixture
def ann(filled: Settings) -> Iterator[TestClient]:
    with pages(filled, Person()) as client:
        yield client


PATHS = ("/", "/costs", "/dag?dag_id=flood__ingest", "/run?dag_id=flood__ingest&run_id=1", "/static/headwater.css",
         f"/reports/flood/drift/{TODAY}.html", "/data/flood/quarantine", "/data/flood/quarantine.csv",
         f"/data/flood/anomalies/{TODAY}.csv", f"/drift/flood/{TODAY}", "/models/flood/51/rollback",
         *(f"/{page}/{slug}" for page in ("forecasts", "drift", "models", "data")
           for slug in ("flood", "taxi", "churn", "equities")))  # fmt: skip


def test_no_page_and_no_file_is_there_without_a_login(filled: Settings) -> None:
    from headwater_ui.app import app

    with pages(filled, None) as nobody:
        for path in PATHS:
            assert nobody.get(path).status_code == 401, path
        assert nobody.post("/models/flood/51/rollback", data={"token": "x", "reason": "y"}).status_code == 401
    routes = {route.path for route in app.routes}
    told = {path.partition("?")[0] for path in PATHS}
    assert len(routes) == 15
    assert {route for route in routes if not any(_fits(route, path) for path in told)} == set(), "a route is not asked"


def _fits(route: str, path: str) -> bool:
    parts, given = route.split("/"), path.split("/")
    return len(parts) == len(given) and all(
        one.startswith("{") or one == two for one, two in zip(parts, given, strict=True)
    )


@pytest.mark.parametrize("path", [path for path in PATHS if not path.startswith(("/dag", "/run"))])
def test_every_page_answers_and_lets_nothing_from_elsewhere_in(ann: TestClient, path: str) -> None:
    answer = ann.get(path)
    assert answer.status_code == 200, answer.text[:2000]
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'self'" in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    if answer.headers["content-type"].startswith("text/html") and "/reports/" not in path:
        assert " style=" not in answer.text, "an inline style would be refused by the page's own policy"
        assert "http://" not in answer.text.replace("http://testserver", "").replace("http://www.w3.org", "")


def test_before_anything_has_run_every_page_says_what_makes_it(
    new_database: Callable[[], str], filled: Settings, tmp_path: Path
) -> None:
    url = new_database()
    database.ensure_ops(url)
    empty = make_settings(tmp_path, url).model_copy(update={"mlflow_url": "http://127.0.0.1:9"})
    told = {
        "/": ("none yet", "flood__ingest makes them", "flood__train trains it", "not scored yet"),
        "/costs": ("No task has ended",),
        "/forecasts/flood": ("There is no forecast yet", "flood__score"),
        "/drift/flood": ("No window", "headwater report drift flood"),
        "/models/flood": ("Nothing has been trained yet", "headwater train flood"),
        "/data/flood": ("Nothing has been brought in yet", "headwater bootstrap flood"),
        "/data/flood/quarantine": ("No row is in quarantine",),
    }
    with pages(empty, Person()) as client:
        for path, words in told.items():
            answer = client.get(path)
            assert answer.status_code == 200, path
            assert [word for word in words if word not in answer.text] == [], path


def test_the_overview_shows_each_use_case_with_what_is_newest_of_it(ann: TestClient) -> None:
    text = ann.get("/").text
    for said in ("River floods", "version 52", "1 open incident", "all 24 scores pass", f"up to {TODAY}"):
        assert said in text, said


def test_a_use_case_that_the_user_may_not_see_is_on_no_page(filled: Settings) -> None:
    with pages(filled, Person(refused={("GET", "churn__ingest")})) as client:
        assert "Customer churn" not in client.get("/").text
        assert "churn__ingest" not in client.get("/costs").text
        assert "flood__ingest" in client.get("/costs").text
        for path in ("/data/churn", "/forecasts/churn", "/models/churn/51/rollback", "/reports/churn/drift/x.html",
                     "/data/churn/anomalies/2026-03-01.csv"):  # fmt: skip
            assert client.get(path).status_code == 403, path


def test_forecasts_are_those_of_the_entity_and_the_days_that_were_asked_for(ann: TestClient) -> None:
    first, last = TODAY - timedelta(days=9), TODAY
    text = ann.get("/forecasts/equities", params={"entity": "e3", "from": str(first), "to": str(last)}).text
    assert 'value="e3"' in text
    assert "The newest 10 forecasts of e3" in text
    assert "<svg" in text
    assert "e999 has no forecast" in ann.get("/forecasts/equities?entity=e999").text
    for wrong in ("from=yesterday", "from=2026-03-02&to=2026-03-01", "from=1990-01-01", "to=0001-01-01", "entity=%00",
                  "entity=e3&x=a%00b"):  # fmt: skip
        assert ann.get(f"/forecasts/equities?{wrong}").status_code == 400, wrong
    for path in ("/costs?to=0001-01-01", "/drift/flood?to=0001-01-01", "/run?dag_id=flood__ingest&run_id=%00",
                 "/data/%00"):  # fmt: skip
        assert ann.get(path).status_code == 400, path
    assert ann.get("/forecasts/equities?to=9999-12-31").status_code == 200


def test_of_several_versions_forecasts_the_champions_are_shown(ann: TestClient, filled: Settings) -> None:
    url = filled.require_database()
    database.query(
        url,
        "insert into serving.predictions_batch (use_case, channel, entity, day, model_version, outputs)"
        " select 'flood', 'batch', 'e1', %s, version, jsonb_build_object('discharge_m3s', 500 + version)"
        " from unnest(array[52, 53]) as version",
        (TODAY,),
    )
    try:
        text = ann.get("/forecasts/flood", params={"entity": "e1"}).text
    finally:
        database.query(url, "delete from serving.predictions_batch where use_case = 'flood' and model_version > 1")
    cells = re.findall(r"<td[^>]*>([^<]*)</td>", text)
    assert "552" in cells
    assert "553" not in cells


def test_a_window_that_nothing_can_be_said_of_is_not_called_calm(ann: TestClient, filled: Settings) -> None:
    url, newest = filled.require_database(), TODAY + timedelta(days=1)
    database.query(
        url, "update ops.drift_columns set drifted = true where use_case = 'taxi' and column_name = 'feature_1'"
    )
    assert 'class="drifts"' in ann.get("/drift/taxi").text
    database.query(
        url,
        "insert into ops.drift_windows (use_case, window_start, window_end, model_version, rows, reference_rows,"
        " reference_windows, verdict, promised_rate, false_alarm_rate, false_alarms_a_month, share, said)"
        " values ('taxi', %(day)s, %(day)s, 53, 40, 90, 3, 'calm', 0.01, 0, 0, 0, 'too few windows')",
        {"day": newest},
    )
    try:
        history, window, overview = (ann.get(path).text for path in ("/drift/taxi", f"/drift/taxi/{newest}", "/"))
    finally:
        database.query(url, "delete from ops.drift_windows where use_case = 'taxi' and model_version = 53")
    assert "not judged" in history
    assert 'class="drifts"' not in history  # what drifted in an earlier window alone
    assert "90 rows in 3 windows" in window
    assert "are to be expected" not in window
    assert "too few windows to hold it against" in overview


def test_the_days_to_look_at_are_the_newest_of_all_data_sets(ann: TestClient, filled: Settings) -> None:
    url, year = filled.require_database(), TODAY.year - 2
    days = {"weather": f"{year}-03-01", "discharge": f"{year}-06-01"}
    for dataset, day in days.items():
        database.query(
            url,
            "insert into ops.ledger (use_case, dataset, step, window_start, window_end, attempt, state, seconds,"
            " peak_memory_mb, code_version) values ('flood', %s, 'check', %s, %s, 1, 'missing', 1, 1, 'x')",
            (dataset, day, day),
        )
    try:
        text = ann.get(f"/data/flood?year={year}").text
    finally:
        database.query(url, "delete from ops.ledger where code_version = 'x'")
    assert f"headwater backfill flood --from {days['weather']} --to {days['discharge']} --plan" in text


def test_what_a_use_case_is_called_and_says_is_escaped(ann: TestClient) -> None:
    text = ann.get("/forecasts/equities", params={"entity": '"><script>alert(1)</script>'}).text
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert" in text


def test_a_calendar_shows_each_day_by_the_ledger(ann: TestClient) -> None:
    text = ann.get(f"/data/flood?year={TODAY.year}").text
    in_year = min(DAYS, (TODAY - TODAY.replace(month=1, day=1)).days + 1)
    assert text.count(f"{in_year} days loaded") == 3
    assert f"{TODAY}: loaded" in text
    assert ann.get("/data/flood?year=1800").status_code == 400


def test_holidays_are_not_called_missing_without_a_word_before_the_exchange_has_been_asked(
    ann: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    from headwater_ui import calendars

    monkeypatch.setattr(calendars, "_known", {})
    monkeypatch.setattr(calendars, "_ask", lambda slug, year: None)
    told = "holidays look like days that are missing"
    assert told in ann.get("/data/equities").text
    assert told not in ann.get("/data/flood").text
    monkeypatch.setattr(calendars, "_known", {("equities", TODAY.year): set()})
    assert told not in ann.get("/data/equities").text


def test_a_report_is_served_in_a_sandbox_and_nothing_else_of_the_disk_is(ann: TestClient, filled: Settings) -> None:
    answer = ann.get(f"/reports/flood/drift/{TODAY}.html")
    assert answer.headers["content-security-policy"].startswith("sandbox allow-scripts;")
    assert "allow-same-origin" not in answer.headers["content-security-policy"]
    (filled.home / "reports" / "flood" / "drift" / "link.html").symlink_to(filled.home / "secret.html")
    for path in ("drift/link.html", "drift/..%2F..%2F..%2Fsecret.html", "..%2F..%2Fsecret.html", "drift/none.html",
                 "drift/%2e%2e/secret.html", "drift/.html"):  # fmt: skip
        answer = ann.get(f"/reports/flood/{path}")
        assert answer.status_code in {400, 404}, path
        assert "not for you" not in answer.text
    page = ann.get(f"/drift/flood/{TODAY}").text
    assert '<iframe class="report" sandbox="allow-scripts"' in page


def test_anomalies_and_audits_are_found_on_the_page_of_the_data_and_can_be_had(
    ann: TestClient, filled: Settings
) -> None:
    page, place = ann.get("/data/flood").text, filled.home / "reports" / "flood" / "quality" / "days"
    for kind, media_type in (("csv", "text/csv"), ("parquet", "application/vnd.apache.parquet")):
        path = f"/data/flood/anomalies/{TODAY}.{kind}"
        assert f'href="{path}"' in page
        answer = ann.get(path)
        assert answer.text == f"the {kind} of a day"
        assert answer.headers["content-type"].startswith(media_type)
        assert answer.headers["content-disposition"] == f'attachment; filename="flood-anomalies-{TODAY}.{kind}"'
    assert ".part" not in page
    assert 'href="/reports/flood/quality/2026-03.html"' in page
    assert "the audit of a month" in ann.get("/reports/flood/quality/2026-03.html").text
    (place / "2026-01-01.csv").symlink_to(filled.home / "secret.html")
    for name in ("2026-01-01.csv", "2026-01-02.csv", "..%2F..%2F..%2F..%2Fsecret.html", "..%2F2026-03.html",
                 f".{TODAY}.csv.part", "%2e%2e/2026-03.html"):  # fmt: skip
        answer = ann.get(f"/data/flood/anomalies/{name}")
        assert answer.status_code in {400, 404}, name
        assert "not for you" not in answer.text


def test_anomalies_are_had_from_the_store_that_machines_share(
    filled: Settings, s3_options: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADWATER_FILES_URL", f"s3://lake/{uuid.uuid4().hex}")
    for name, value in s3_options.items():
        monkeypatch.setenv(f"HEADWATER_LAKE_OPTIONS__{name.upper()}", value)
    with pages(filled, Person()) as client:
        path = f"/data/flood/anomalies/{TODAY}.csv"
        assert client.get(path).status_code == 404
        assert "/anomalies/" not in client.get("/data/flood").text
        settings = get_settings()
        shared.put(settings, settings.reports / "flood" / "quality" / "days" / f"{TODAY}.csv")
        assert f'href="{path}"' in client.get("/data/flood").text
        assert client.get(path).text == "the csv of a day"


def test_the_verdict_of_a_window_can_be_had_as_json(ann: TestClient) -> None:
    path = f"/reports/flood/drift/{TODAY}.json"
    assert f'href="{path}"' in ann.get(f"/drift/flood/{TODAY}").text
    answer = ann.get(path)
    assert answer.json() == {"verdict": "drift"}
    assert answer.headers["content-type"] == "application/json"
    assert path not in ann.get(f"/drift/flood/{TODAY - timedelta(days=1)}").text


def test_a_history_that_came_in_one_window_is_counted_in_no_year_that_it_holds(
    ann: TestClient, filled: Settings
) -> None:
    url, year = filled.require_database(), TODAY.year - 3
    windows = ((f"{year - 20}-01-01", f"{year + 1}-06-30", 500_000, 7), (f"{year}-05-01", f"{year}-05-01", 40, 3),
               (f"{year}-12-31", f"{year}-12-31", 2, 1))  # fmt: skip
    for start, end, received, refused in windows:
        database.query(
            url,
            "insert into ops.ledger (use_case, dataset, step, window_start, window_end, attempt, state, received,"
            " quarantined, seconds, peak_memory_mb, code_version)"
            " values ('flood', 'discharge', 'check', %s, %s, 1, 'loaded', %s, %s, 1, 1, 'x')",
            (start, end, received, refused),
        )
    try:
        text = _text(ann.get(f"/data/flood?year={year}").text)
    finally:
        database.query(url, "delete from ops.ledger where code_version = 'x'")
    told = f"42 rows received in {year}, 4 in quarantine, and 500,000 in windows that reach beyond it, 7 of them in"
    assert told in text


def _text(html: str) -> str:
    """What is read of a page, without its elements."""
    return " ".join(re.sub(r"<[^>]*>", "", html).split())


def test_features_are_there_up_to_the_newest_day_also_after_a_backfill(ann: TestClient, filled: Settings) -> None:
    url = filled.require_database()
    database.query(
        url,
        "insert into ops.ledger (use_case, dataset, step, window_start, window_end, attempt, state, seconds,"
        " peak_memory_mb, code_version)"
        " values ('flood', 'features', 'transform', '2001-02-03', '2001-02-03', 1, 'loaded', 1, 1, 'x')",
    )
    try:
        text = ann.get("/").text
    finally:
        database.query(url, "delete from ops.ledger where code_version = 'x'")
    assert "2001-02-03" not in text
    assert text.count(f"up to {TODAY}") >= 4


@pytest.fixture
def alerted(filled: Settings) -> Iterator[Settings]:
    """Six alerts of a use case, of which the oldest is the worst, and two of the platform."""
    alerts.announce(filled, "fresh flood usgs", "nothing of discharge", "a body", "critical")
    for number in range(4):
        alerts.announce(filled, f"quality flood data discharge {number}", f"score {number} too low", "a body", "info")
    alerts.announce(filled, "run flood__score", "flood__score has failed", "a body")
    alerts.announce(filled, "health mlflow", "MLflow does not answer", "headwater status says why", "critical")
    alerts.announce(filled, "run platform__logs", "platform__logs has failed", "its log says why")
    yield filled
    database.query(filled.require_database(), "delete from ops.alerts")


def test_the_overview_names_the_worst_alerts_and_how_many_more_there_are_and_those_of_the_platform(
    alerted: Settings, ann: TestClient
) -> None:
    *_, flood, platform = [_text(card) for card in ann.get("/").text.split("<article>") if "Alert" in card]
    named = re.findall(r"Alert: (.*?)(?= Alert| and \d+ more)", flood)
    assert named == ["nothing of discharge", "flood__score has failed", "score 3 too low"]
    assert "and 3 more" in flood
    assert platform.startswith("Platform")
    assert "Alert: MLflow does not answer Alert: platform__logs has failed" in platform
    assert "more" not in platform
    with pages(alerted, Person(refused={("GET", "platform__health")})) as client:
        assert "MLflow does not answer" not in client.get("/").text


def test_the_tabs_of_the_platform_s_dags_and_runs_are_for_whoever_may_see_their_runs(
    alerted: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.api_fastapi.common.db.common import _get_session

    from headwater_ui.queries import runs

    monkeypatch.setattr(runs, "newest", lambda session, dag_id: [])
    found = runs.Run("platform__health", "r", "success", None, None, None, [])
    monkeypatch.setattr(runs, "run", lambda session, dag_id, run_id: replace(found, dag_id=dag_id))
    refused = {("GET", "platform__logs"), ("GET", "flood__ingest")}
    with pages(alerted, Person(refused=refused)) as client:
        client.app.dependency_overrides[_get_session] = lambda: None  # type: ignore[attr-defined]
        text = client.get("/dag?dag_id=platform__health").text
        for said in ("MLflow does not answer", "headwater status says why", "platform__logs has failed"):
            assert said in text
        assert "nothing of discharge" not in text
        text = client.get("/run?dag_id=platform__health&run_id=r").text
        assert 'href="/dag?dag_id=platform__health"' in text
        assert client.get("/dag?dag_id=taxi__score").status_code == 200
        assert client.get("/run?dag_id=taxi__score&run_id=r").status_code == 200
        for dag_id in ("platform__logs", "flood__score", "another"):
            assert client.get(f"/dag?dag_id={dag_id}").status_code == 404, dag_id
            assert client.get(f"/run?dag_id={dag_id}&run_id=r").status_code == 404, dag_id


def test_a_run_leads_to_the_report_that_it_made(filled: Settings, ann: TestClient) -> None:
    from headwater_ui.routes.runs import _reports

    made = {"step": "drift", "window_end": TODAY + timedelta(days=9)}
    link = f"http://mlflow/#/experiments/1/runs/2/artifacts/drift/{TODAY}.html"
    assert _reports(FLOOD, [made | {"detail": {"link": link}}]) == [str(TODAY)]
    assert _reports(FLOOD, [made | {"detail": None}]) == []
    assert _reports(FLOOD, [made | {"detail": None, "window_end": TODAY}]) == [str(TODAY)]


def test_a_decision_needs_a_form_that_this_user_was_shown_for_it(filled: Settings) -> None:
    from headwater_ui import forms

    with pages(filled, Person()) as client:
        mine = forms.token("id of ann", "rollback", "flood", "51", "")
        others = {
            "no token of ours": "forged",
            "of somebody else": forms.token("id of bob", "rollback", "flood", "51", ""),
            "of another version": forms.token("id of ann", "rollback", "flood", "50", ""),
            "of other evidence": forms.token("id of ann", "rollback", "flood", "51", "a hash"),
            "of another use case": forms.token("id of ann", "rollback", "taxi", "51", ""),
        }
        for what, token in others.items():
            answer = client.post("/models/flood/51/rollback", data={"token": token, "reason": "y"})
            assert answer.status_code == 403, what
        assert client.post("/models/flood/51/rollback", data={"reason": "y"}).status_code == 400
        answer = client.post("/models/flood/51/rollback", data={"token": mine, "reason": "  "})
        assert answer.status_code == 400
        assert "Say why" in answer.text


def test_who_may_not_decide_is_told_so_and_sees_no_button(filled: Settings) -> None:
    with pages(filled, Person(refused={("POST", "flood__rollback")})) as client:
        assert client.get("/models/flood/51/rollback").status_code == 403
        assert "Roll back…" not in client.get("/models/flood").text
    only = filled.model_copy(update={"reviewers": "zoe"})
    with pages(only, Person("ann")) as client:
        answer = client.get("/models/flood/52/approve")
        assert answer.status_code == 403
        assert "HEADWATER_REVIEWERS" in answer.text


def test_a_decision_is_taken_under_the_user_s_name_with_the_reason(
    filled: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from headwater_ui import deciding, forms

    taken: list[tuple[object, ...]] = []
    monkeypatch.setattr(deciding, "decide", lambda *asked: taken.append(asked))
    with pages(filled, Person("ann")) as client:
        data = {"token": forms.token("id of ann", "rollback", "flood", "51", ""), "reason": " the river says so "}
        answer = client.post("/models/flood/51/rollback", data=data)
    assert (answer.status_code, answer.headers["location"]) == (303, "/models/flood#history")
    assert taken == [("rollback", "flood", 51, "ann (Airflow)", "the river says so", "")]


def test_a_decision_is_on_the_evidence_that_was_shown(filled: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    from headwater_ui import deciding
    from models import history

    taken: list[tuple[object, ...]] = []
    monkeypatch.setattr(deciding, "decide", lambda *asked: taken.append(asked))
    history.keep(FLOOD, filled, 51, "shown", {"run_id": "run", "bento": "headwater-flood:v51"})
    with pages(filled, Person("ann")) as client:
        form = client.get("/models/flood/51/rollback").text
        carried = dict(re.findall(r'name="(token|evidence)" value="([^"]*)"', form))
        history.keep(FLOOD, filled, 51, "newer", {"run_id": "run", "bento": "headwater-flood:v51"})
        answers = [
            client.post("/models/flood/51/rollback", data=carried | {"reason": "y"} | other)
            for other in ({}, {"evidence": "newer"})
        ]
    assert [answer.status_code for answer in answers] == [303, 403]
    assert [asked[-1] for asked in taken] == ["shown"]


def test_what_a_decision_s_own_process_refuses_is_said_on_the_form(filled: Settings) -> None:
    from headwater_ui import forms

    with pages(filled, Person()) as client:
        data = {"token": forms.token("id of ann", "rollback", "flood", "51", ""), "reason": "try"}
        answer = client.post("/models/flood/51/rollback", data=data)
    # There is no MLflow here: the process finds that out, and nothing moves
    assert answer.status_code == 409
    assert "MLflow at http://127.0.0.1:9 cannot be reached" in answer.text
    newest = database.query(
        filled.require_database(), "select max(to_version) as v from ops.promotions where use_case = 'flood'"
    )
    assert newest[0]["v"] == 52


def test_costs_are_those_of_the_rates(ann: TestClient, filled: Settings) -> None:
    from pipelines.costs import Rates

    text = ann.get("/costs?use_case=flood").text
    assert "flood__ingest" in text
    _, _, by_day = text.partition("<summary>By day</summary>")
    assert by_day.count('<td class="n">16 MB</td><td class="n">1.6 MB</td>') >= 29
    assert "churn__ingest" not in text
    assert Rates(3600.0, 0.0, 0.0, "EUR").price(2.0, 0.0, 0.0) == pytest.approx(2.0)
    assert Rates(0.0, 3600.0, 0.0, "EUR").price(0.0, 2048.0, 0.0) == pytest.approx(2.0)
    assert Rates(0.0, 0.0, 2.0, "EUR").price(0.0, 0.0, 1.5e9) == pytest.approx(3.0)


def test_a_connection_that_postgres_has_ended_is_replaced(filled: Settings) -> None:
    from headwater_ui.warehouse import Warehouse

    store = Warehouse(filled.require_database())
    pid = store.row("select pg_backend_pid() as pid")["pid"]
    database.query(filled.require_database(), "select pg_terminate_backend(%s)", (pid,))
    assert store.row("select pg_backend_pid() as pid")["pid"] != pid
    store.close()


def test_the_pages_can_change_nothing_in_the_warehouse(filled: Settings) -> None:
    from headwater_ui.warehouse import Warehouse
    from pipelines.errors import DatabaseError

    store = Warehouse(filled.require_database())
    with pytest.raises(DatabaseError, match="read-only transaction"):
        store.rows("delete from ops.ledger")
    store.close()


def test_loading_the_pages_loads_nothing_heavy(tmp_path: Path) -> None:
    import subprocess
    import sys

    heavy = ("pandas", "polars", "pyarrow", "mlflow", "sklearn", "evidently", "bentoml", "dbt")
    told = f"import sys, headwater_ui.app; print([m for m in {heavy} if m in sys.modules])"
    environment = os.environ | {"AIRFLOW_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", told], capture_output=True, text=True, check=True, env=environment, timeout=300
    )
    assert done.stdout.strip().splitlines()[-1] == "[]"


def test_a_run_shows_its_steps_and_its_dbt_nodes(filled: Settings) -> None:
    from headwater_ui.queries import runs
    from headwater_ui.warehouse import Warehouse
    from pipelines.registry import get_use_case

    began = datetime.combine(TODAY, datetime.min.time(), UTC)
    found = runs.Run("flood__ingest", "r", "success", str(TODAY), began, began + timedelta(days=1), [])
    store = Warehouse(filled.require_database())
    rows = runs.ledger(store, get_use_case("flood"), found)
    assert {row["step"] for row in rows} == {"fetch", "check", "load", "transform"}
    assert {str(row["window_end"]) for row in rows} == {str(TODAY)}
    assert len(runs.nodes(rows)) == 12
    store.close()
