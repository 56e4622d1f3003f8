"""What a person has of the stack after the first day: a champion they approved, predictions, the drift report."""

from __future__ import annotations

import time

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.containers.flood import FLOOD, INGEST, PERSON, SCORE, TRAIN, Used, predict, report_link, request
from tests.containers.stack import Stack

pytestmark = [pytest.mark.containers, pytest.mark.slow, pytest.mark.timeout(7200)]


def test_a_person_s_runs_go_from_nothing_to_a_scored_day(stack: Stack, used: Used) -> None:
    with stack.airflow(PERSON) as airflow:
        for dag_id, run_id in ((INGEST, used.ingest), (TRAIN, used.train), (SCORE, used.score)):
            assert airflow.dag_run(dag_id, run_id)["state"] == "success"
            states = {one["task_id"]: one["state"] for one in airflow.task_instances(dag_id, run_id)}
            assert set(states.values()) <= {"success", "skipped"}, states
            assert dag_id == SCORE or set(states.values()) == {"success"}, states
    moves = stack.sql("postgres", "select actor, reason from ops.promotions where alias = 'champion'")
    assert moves.strip() == f"{PERSON} (Airflow)|rises in time"
    scored = f"select count(*) from serving.predictions where channel = 'batch' and day = '{used.day}'"
    known = f"select count(*) from {FLOOD.feature_table} where {FLOOD.day_column} = '{used.day}'"
    assert int(stack.sql("analyst", scored)) == int(stack.sql("analyst", known)) > 0


def test_the_service_answers_who_has_a_key_and_logs_what_it_said(stack: Stack, used: Used) -> None:
    assert stack.predict(request(stack, used.day), None).status_code == 401
    assert stack.predict(request(stack, used.day), stack.secrets["SERVING_KEY"][:-1] + "x").status_code == 401
    prediction = predict(stack, used.day)
    assert prediction["discharge_m3s"] > 0
    until = time.monotonic() + 60
    said = f"select channel from serving.predictions where prediction_id = '{prediction['prediction_id']}'"
    while (found := stack.sql("analyst", said).strip()) != "online":
        assert time.monotonic() < until, f"the answer is not in the request log: {found}"
        time.sleep(1)


def test_prometheus_can_scrape_what_the_service_counts(stack: Stack, used: Used) -> None:
    predict(stack, used.day)
    answer = httpx.get(f"{stack.url('SERVING')}/metrics", trust_env=False, timeout=30)
    samples = [sample for family in text_string_to_metric_families(answer.text) for sample in family.samples]
    found = {
        (sample.name, sample.labels.get("use_case"), sample.labels.get("status")): sample.value for sample in samples
    }
    assert found["headwater_requests_total", FLOOD.slug, "200"] >= 1
    assert found["headwater_model_version", FLOOD.slug, None] == 1


def test_the_drift_report_is_read_in_airflow_after_its_login_and_by_nobody_else(stack: Stack, used: Used) -> None:
    path = f"/drift/{FLOOD.slug}/{used.day}"
    with stack.pages("viewer") as pages:
        shown = pages.get(path)
        assert shown.status_code == 200, shown.text
        assert str(used.day) in pages.get(f"/drift/{FLOOD.slug}").text
        link = report_link(shown.text)
        report = pages.get(link)
    assert report.status_code == 200
    assert f"<title>{FLOOD.title}: drift" in report.text
    assert len(report.content) > 100_000
    assert report.headers["Content-Security-Policy"].startswith("sandbox")
    with stack.pages(None) as pages:
        for closed in (path, link):
            answer = pages.get(closed)
            assert answer.status_code == 401
            assert FLOOD.title not in answer.text
