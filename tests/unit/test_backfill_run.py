"""A backfill through Airflow: what is asked of it, and what is done when it is interrupted, cancelled or paused."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import httpx
import pytest

from headwater.backfill import Filling
from headwater.stack import backfills
from headwater.stack.airflow import Airflow
from pipelines.backfill import PlannedDay
from pipelines.errors import StackError
from pipelines.window import Window

DAG = "flood__ingest"
FIRST = date(2026, 3, 1)


def day(number: int) -> date:
    return FIRST + timedelta(days=number - 1)


class FakeAirflow:
    """Airflow with one DAG: at each question for what is unfinished, the next waiting run of a backfill ends."""

    def __init__(self) -> None:
        self.backfills: list[dict[str, Any]] = []
        self.runs: list[dict[str, Any]] = []
        self.failing: set[date] = set()
        self.unscheduled: set[date] = set()
        self.paused, self.unpaused = False, 0
        self.on_end: Callable[[date], None] = lambda ended: None
        self.slow_to_close = 1

    def begin(self, window: Window, **fields: Any) -> dict[str, Any]:
        number = len(self.backfills) + 1
        created = {
            "id": number,
            **backfills.bounds(window),
            "created_at": f"2026-04-01T00:00:{number:02}Z",
            "completed_at": None,
            "is_paused": False,
            "asked": 0,
            **fields,
        }
        self.backfills.append(created)
        for offset in range(window.days):
            one = window.start + timedelta(days=offset)
            if one not in self.unscheduled:
                self.runs.append({"dag_run_id": f"b{number}_{one}", "partition_key": str(one), "state": "queued",
                                  "end_date": None})  # fmt: skip
        return created

    def __call__(self, request: httpx.Request) -> httpx.Response:
        path, params = request.url.path.removeprefix("/api/v2"), request.url.params
        if path == "/auth/token":
            return httpx.Response(201, json={"access_token": "t"})
        if path == "/dags":
            return httpx.Response(200, json={"dags": [{"dag_id": DAG}], "total_entries": 1})
        if path == f"/dags/{DAG}":
            if request.method == "PATCH":
                self.paused, self.unpaused = False, self.unpaused + 1
            return httpx.Response(200, json={"is_paused": self.paused})
        if path == "/backfills" and request.method == "POST":
            return self._post(json.loads(request.read()))
        if path == "/backfills":
            self._close()
            listed = self.backfills[::-1]
            return httpx.Response(200, json={"backfills": listed, "total_entries": len(listed)})
        if path.startswith("/backfills/"):
            return httpx.Response(200, json=self.backfills[int(path.rpartition("/")[2]) - 1])
        return self._runs(params)

    def _post(self, body: dict[str, Any]) -> httpx.Response:
        if any(one["completed_at"] is None for one in self.backfills):
            return httpx.Response(409, json={"detail": "There is already a running backfill"})
        assert body["reprocess_behavior"] == "completed"
        window = backfills.window_of(body)
        assert {key: body[key] for key in ("from_date", "to_date")} == backfills.bounds(window)
        return httpx.Response(200, json=self.begin(window, max_active_runs=body["max_active_runs"]))

    def _close(self) -> None:
        """Closes what has ended, but only the second time that somebody looks."""
        for one in self.backfills:
            waiting = [
                run for run in self.runs if run["dag_run_id"].startswith(f"b{one['id']}_") and not run["end_date"]
            ]
            if not waiting:
                one["asked"] += 1
                if one["asked"] > self.slow_to_close:
                    one["completed_at"] = "2026-04-02T00:00:00Z"

    def _runs(self, params: httpx.QueryParams) -> httpx.Response:
        days = [str(day(n)) for n in range(1, 60)]
        inside = [
            run for run in self.runs
            if days.index(params["partition_date_gte"]) <= days.index(run["partition_key"])
            <= days.index(params["partition_date_lte"])
        ]  # fmt: skip
        if "queued" in params.get_list("state"):
            found = [run for run in inside if run["state"] == "queued"]
            self._end(found[:1])
        else:
            # As Airflow does, a run without an end counts as one that has ended now
            found = [
                run for run in inside if run["state"] != "queued" and (run["end_date"] or "3") >= params["end_date_gte"]
            ]
        return httpx.Response(200, json={"dag_runs": found, "total_entries": len(found)})

    def _end(self, runs: list[dict[str, Any]]) -> None:
        for run in runs:
            if any(one["is_paused"] for one in self.backfills):
                continue
            ended = date.fromisoformat(run["partition_key"])
            run["state"] = "failed" if ended in self.failing else "success"
            run["end_date"] = f"2026-04-01T01:{len(self.backfills):02}:00Z"
            self.on_end(ended)

    @property
    def asked_for(self) -> list[Window]:
        return [backfills.window_of(one) for one in self.backfills]


class World:
    """Airflow and the ledger: a run that succeeds loads its day."""

    def __init__(self, marks: str) -> None:
        self.reasons = {
            day(at): {"x": "never ran", ".": "loaded", "-": "not expected"}[m] for at, m in enumerate(marks, 1)
        }
        self.fake = FakeAirflow()
        self.fake.on_end = self._ended
        self.told: list[str] = []

    def _ended(self, ended: date) -> None:
        failed = ended in self.fake.failing
        if self.reasons[ended] != "not expected":
            self.reasons[ended] = "failed: no answer" if failed else "loaded"

    def plan(self) -> list[PlannedDay]:
        return [
            PlannedDay(one, reason not in {"loaded", "not expected"}, reason) for one, reason in self.reasons.items()
        ]

    def fill(self, at_once: int = 2) -> dict[date, str]:
        with Airflow("http://airflow", "secret", httpx.MockTransport(self.fake)) as airflow:
            return Filling(airflow, DAG, self.plan, self.told.append, at_once, pause_s=0).run()


def test_only_the_days_that_are_to_run_are_asked_for_span_by_span_at_so_many_at_once() -> None:
    world = World("xx..x-x.")
    assert world.fill(at_once=5) == {day(1): "done", day(2): "done", day(5): "done", day(7): "done"}
    assert world.fake.asked_for == [Window(day(1), day(2)), Window(day(5), day(7))]
    assert {one["max_active_runs"] for one in world.fake.backfills} == {5}


def test_a_plan_with_nothing_to_run_asks_airflow_for_nothing() -> None:
    world = World("..-.")
    assert world.fill() == {}
    assert world.fake.backfills == []


def test_a_day_that_fails_is_named_and_tried_once_by_a_call() -> None:
    world = World("xxx")
    world.fake.failing = {day(2)}
    assert world.fill() == {day(1): "done", day(2): "failed", day(3): "done"}
    assert len(world.fake.backfills) == 1
    assert any("2026-03-02 failed" in said for said in world.told)


def test_the_same_call_again_tries_what_failed_and_nothing_else() -> None:
    world = World("xxx.")
    world.fake.failing = {day(2)}
    world.fill()
    world.fake.failing = set()
    assert world.fill() == {day(2): "done"}
    assert world.fake.asked_for[1:] == [Window(day(2), day(2))]


def test_a_backfill_that_goes_on_is_waited_for_and_its_days_are_not_run_twice() -> None:
    world = World("xxxxx")
    world.fake.begin(Window(day(1), day(3)))  # an earlier call that was interrupted
    assert world.fill() == {day(4): "done", day(5): "done"}
    assert world.fake.asked_for == [Window(day(1), day(3)), Window(day(4), day(5))]
    assert set(world.reasons.values()) == {"loaded"}


@pytest.mark.parametrize("at", [1, 3, 6])
def test_interrupted_at_any_day_and_resumed_ends_as_uninterrupted(at: int) -> None:
    world = World("xxx.xx-x")
    ended = world.fake.on_end

    def interrupt(one: date) -> None:
        ended(one)
        if one == day(at):
            world.fake.on_end = ended
            raise KeyboardInterrupt

    world.fake.on_end = interrupt
    with pytest.raises(KeyboardInterrupt):
        world.fill()
    world.fill()
    whole = World("xxx.xx-x")
    whole.fill()
    assert world.reasons == whole.reasons
    runs = [run["partition_key"] for run in world.fake.runs]
    assert sorted(runs) == sorted(set(runs)) == sorted(run["partition_key"] for run in whole.fake.runs)


def test_a_day_that_was_cancelled_or_is_in_no_schedule_is_not_run_and_not_asked_for_again() -> None:
    world = World("xxx")
    world.fake.unscheduled = {day(3)}
    begin = world.fake.begin

    def cancelled(window: Window, **fields: Any) -> dict[str, Any]:
        created = begin(window, **fields)
        next(run for run in world.fake.runs if run["partition_key"] == str(day(2)))["state"] = "failed"
        return created

    world.fake.begin = cancelled  # type: ignore[method-assign]
    world.fake.slow_to_close = 0
    assert world.fill() == {day(1): "done", day(2): "not run", day(3): "not run"}
    assert len(world.fake.backfills) == 1


def test_a_paused_dag_is_woken_and_the_user_is_told_what_follows() -> None:
    world = World("x")
    world.fake.paused = True
    world.fill()
    assert world.fake.unpaused == 1
    assert any("it also runs daily" in said for said in world.told)


def test_a_paused_backfill_is_an_error_that_says_where_to_go() -> None:
    world = World("xx")
    world.fake.begin(Window(day(1), day(2)), is_paused=True)
    with pytest.raises(StackError, match="backfill 1 of flood__ingest is paused; let it go on or cancel it"):
        world.fill()
