"""The pages in a real Airflow, in a real browser: behind its login, as tabs of its DAGs and runs, and deciding."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from integration import filled
from integration.browser import browser, gone, log_in, require_browser, seen
from integration.stacks import home_of

from headwater.stack import control
from headwater.stack.airflow import Airflow
from headwater.stack.airflow_env import ADMIN
from models import history
from pipelines import database, drift_log
from pipelines.registry import get_use_case, use_cases
from pipelines.settings import get_settings

SERVICES = ("sandbox", "mlflow", "airflow-scheduler", "airflow-dag-processor", "airflow-triggerer")
FLOOD, SHIFTED = get_use_case("flood"), get_use_case("equities")
"""Whose challenger a person approves, and whose drift a person is asked about."""
DAYS = {"flood": 800, "taxi": 120, "churn": 400, "equities": 700}
"""Of each use case, the newest so many days are brought in."""
CANDIDATES = {"taxi": "ridge", "churn": "logistic", "equities": "logistic"}
"""What is trained at once, of all but the one whose training is Airflow's."""
SCORED_DAYS = 60
PATIENCE_S = 600
EACH = ("forecasts", "drift", "models", "data")
PAGES = ("", "costs", "dag?dag_id=flood__train", *(f"{page}/{slug}" for slug in DAYS for page in EACH))


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The stack with months of data of every use case; where there is no browser, nothing is started."""
    require_browser()
    assert set(DAYS) == set(use_cases()), "a use case has landed whose pages nobody looks at"
    folder = tmp_path_factory.mktemp("pages")
    with pytest.MonkeyPatch.context() as patch, home_of(folder / "home", patch) as home:
        control.up(lambda _: None, services=SERVICES, timeout_s=PATIENCE_S)
        for slug, days in DAYS.items():
            filled.bring(get_use_case(slug), days)
        yield home


@pytest.fixture(scope="module")
def asked(stack: Path) -> str:
    """A training that has a challenger packaged and waits for a person; gives the id of its run.

    Meanwhile the others get a champion, forecasts and a window of drift.
    """
    train = FLOOD.dag_id("train")
    with Airflow() as airflow:
        airflow.wait_for_dags(
            {FLOOD.dag_id("train"), *(SHIFTED.dag_id(shape) for shape in ("train", "score", "review"))}
        )
        airflow.unpause(train)
        run_id = airflow.trigger(train, conf={"ask": True})
        for slug, candidate in CANDIDATES.items():
            other = get_use_case(slug)
            filled.champion(other, candidate)
            filled.scored(other, SCORED_DAYS)
            filled.look(other, [filled.newest_features(other)])
        filled.await_task(airflow, train, run_id, "approve", "awaiting_input")
    return run_id


@pytest.fixture
def page(stack: Path, tmp_path: Path) -> Iterator[Any]:
    """A browser that is logged in."""
    with browser(tmp_path / "profile") as driver:
        log_in(driver, get_settings().airflow_url, stack)
        driver.get_log("browser")  # reading forgets: Airflow's own page asks for its configuration before the login
        yield driver


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_no_page_is_there_without_airflow_s_login(stack: Path) -> None:
    with httpx.Client(base_url=f"{get_settings().airflow_url}/headwater", trust_env=False) as nobody:
        for path in (*PAGES, "static/headwater.css", "data/flood/quarantine.csv"):
            answer = nobody.get(f"/{path}")
            assert answer.status_code == 401, path
            assert "River" not in answer.text
        assert nobody.post("/models/flood/1/approve", data={"token": "x", "reason": "y"}).status_code == 401
    with Airflow() as airflow:
        assert airflow.call("GET", "/plugins/importErrors")["import_errors"] == []


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_challenger_is_approved_on_its_page_and_what_waits_in_airflow_agrees(asked: str, page: Any) -> None:
    url, settings = f"{get_settings().airflow_url}/headwater", get_settings()
    page.get(f"{url}/models/flood")
    seen(page, "//td[normalize-space()='nse']")
    seen(page, "//a[normalize-space()='Approve…']").click()
    seen(page, "//textarea[@name='reason']").send_keys("rises in time")
    seen(page, "//button[contains(normalize-space(), 'Approve version 1')]").click()
    seen(page, "//h2[normalize-space()='Champion: version 1']")
    move = history.moves(FLOOD, settings)[0]
    assert (move["alias"], move["to_version"], move["reason"]) == ("champion", 1, "rises in time")
    assert move["actor"] == f"{ADMIN} (Airflow)"
    with Airflow() as airflow:
        train = FLOOD.dag_id("train")
        airflow.call(
            "PATCH", f"/dags/{train}/dagRuns/{asked}/taskInstances/approve/-1/hitlDetails",
            json={"chosen_options": ["Approve"], "params_input": {}},
        )  # fmt: skip
        filled.await_task(airflow, train, asked, "promote", "success")
    assert len([one for one in history.moves(FLOOD, settings) if one["alias"] == "champion"]) == 1


@pytest.fixture(scope="module")
def scored(asked: str) -> SimpleNamespace:
    """A day that Airflow has scored, with a drift that lasts: the second window in which prices swing more."""
    settings, dag_id = get_settings(), SHIFTED.dag_id("score")
    moved = [move["alias"] for move in history.moves(FLOOD, settings)]
    assert "champion" in moved, "none was approved"
    filled.scored(FLOOD, SCORED_DAYS)
    filled.look(FLOOD, [filled.newest_features(FLOOD)])
    day = filled.newest_features(SHIFTED)
    database.query(
        settings.require_database(),
        f"update {SHIFTED.feature_table} set volatility_20d = volatility_20d * 5 where day >= %s",
        (day - timedelta(days=SHIFTED.drift_days + 1),),
    )
    assert filled.look(SHIFTED, [day - timedelta(days=1)]) is None, "a person is asked from the second window on"
    with Airflow() as airflow:
        airflow.unpause(dag_id)
        run_id = airflow.trigger(dag_id, conf={"day": str(day)})
        filled.await_task(airflow, dag_id, run_id, "start_review", "success")
    return SimpleNamespace(day=day, dag_id=dag_id, run_id=run_id)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_each_page_shows_what_there_is_of_every_use_case(scored: SimpleNamespace, page: Any) -> None:
    pages = f"{get_settings().airflow_url}/headwater"
    for path in PAGES:
        page.get(f"{pages}/{path}")
        seen(page, "//main//h1")
        assert not [entry for entry in page.get_log("browser") if entry["level"] == "SEVERE"], path
        if path.partition("/")[0] in EACH:
            _shows_data(page, path)
    page.get(f"{pages}/")
    for use_case in use_cases().values():
        card = seen(page, f"//article[.//a[normalize-space()='{use_case.title}']]").text
        for said in ("up to 20", "version 1", "days up to", "scores", "of rows"):
            assert said in card, (use_case.slug, said, card)
        assert "none yet" not in card
        assert "not looked at yet" not in card


def _shows_data(page: Any, path: str) -> None:
    """Pictures of forecasts, a window that was looked at, a champion with its metrics, days that are loaded."""
    kind, _, slug = path.partition("/")
    if kind == "forecasts":
        seen(page, "//*[name()='svg']//*[name()='path' or name()='circle' or name()='rect']")
        assert "There is no forecast yet" not in seen(page, "//main").text, path
    elif kind == "drift":
        said = " or ".join(f"normalize-space()='{verdict}'" for verdict in ("calm", "drift", "not judged"))
        seen(page, f"//h2[normalize-space()='Windows']/..//td[{said}]")
    elif kind == "models":
        seen(page, "//h2[normalize-space()='Champion: version 1']/..//td[normalize-space()='passed']")
    else:
        use_case = get_use_case(slug)
        page.get(f"{page.current_url}?year={filled.newest_features(use_case).year}")
        for dataset in (one for one in use_case.datasets if one.day_column is not None and not one.sparse):
            told = seen(page, f"//h2[starts-with(normalize-space(), '{dataset.name} ')]").text
            assert int(told.split()[1]) > 0, (path, told)
        seen(page, "//h2[normalize-space()='Quality']/..//td[normalize-space()='completeness']")


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_run_and_its_window_show_what_a_scored_day_has_left(scored: SimpleNamespace, page: Any) -> None:
    url, pages = get_settings().require_database(), f"{get_settings().airflow_url}/headwater"
    costs = database.query(
        url, "select * from ops.task_costs where dag_id = %s and state = 'success'", (scored.dag_id,)
    )
    assert {"score", "drift"} <= {row["task_id"] for row in costs}
    worked = [row for row in costs if row["task_id"] in {"score", "drift"}]
    assert all(row["cpu_seconds"] > 0.5 and row["peak_memory_mb"] > 100 for row in worked)
    page.get(f"{pages}/run?dag_id={scored.dag_id}&run_id={scored.run_id.replace('+', '%2B')}")
    seen(page, "//h2[normalize-space()='What the steps did']/..//td[starts-with(normalize-space(), 'drift')]")
    page.get(f"{pages}/drift/{SHIFTED.slug}/{scored.day}")
    _reads_the_report(page)


def _reads_the_report(page: Any) -> None:
    """Evidently's report, unpacked and drawn in a frame of its own; our verdict above it has no columns counted."""
    frame = seen(page, "//iframe[contains(@class, 'report')]")
    assert frame.get_attribute("sandbox") == "allow-scripts"
    page.switch_to.frame(frame)
    gone(page, "//*[@id='wait']")
    seen(page, "//div[starts-with(@id, 'root_')]//*[normalize-space()='Drifted Columns']")
    page.switch_to.default_content()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_airflow_s_own_pages_lead_to_them(stack: Path, page: Any) -> None:
    """Under *Browse*, and as a tab of a DAG: each is the page in a frame, behind the same login."""
    url = get_settings().airflow_url
    for path, heading in (("plugin/headwater", "Use cases"),
                          ("dags/flood__train/plugin/headwater-dag", "flood__train")):  # fmt: skip
        page.get(f"{url}/{path}")
        page.switch_to.frame(seen(page, "//iframe"))
        seen(page, f"//h1[normalize-space()='{heading}']")
        page.switch_to.default_content()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_an_incident_leads_to_its_report_and_its_answer_to_a_training(scored: SimpleNamespace, page: Any) -> None:
    settings, review, train = get_settings(), SHIFTED.dag_id("review"), SHIFTED.dag_id("train")
    (incident,) = drift_log.incidents(settings, SHIFTED.slug)
    assert any("volatility_20d" in name for name in incident["detail"]["columns"]), incident["detail"]
    page.get(f"{settings.airflow_url}/headwater/")
    seen(page, f"//a[starts-with(@href, '/headwater/drift/{SHIFTED.slug}') and contains(., 'open incident')]").click()
    seen(page, f"//td[contains(., '{incident['cause']}')]/..//a").click()
    seen(page, f"//*[contains(., 'Incident {incident['incident_id']},') and contains(., 'waits for an answer')]")
    _reads_the_report(page)
    with Airflow() as airflow:
        airflow.unpause(train)
        run_id = f"incident_{incident['incident_id']}"
        filled.await_task(airflow, review, run_id, "ask", "awaiting_input")
        page.get(f"{settings.airflow_url}/dags/{review}/runs/{run_id}/tasks/ask/required_actions")
        seen(page, "//button[normalize-space()='Retrain']").click()
        filled.await_task(airflow, review, run_id, "retrain", "success")
        runs = [run["dag_run_id"] for run in airflow.pages(f"/dags/{train}/dagRuns", "dag_runs")]
        (started,) = [run for run in runs if run.startswith(f"{run_id}_")]
        filled.await_task(airflow, train, started, "start", "success")
    page.get(f"{settings.airflow_url}/headwater/drift/{SHIFTED.slug}")
    seen(page, f"//td[contains(., 'retrain') and contains(., '{ADMIN} (Airflow)')]")
