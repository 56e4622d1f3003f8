"""The request log against a real Postgres: what was answered is in the table exactly once, whatever ends meanwhile."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from db.helpers import values

from headwater.stack.files import free_port
from headwater.stack.pgsql import THROWAWAY
from headwater.stack.postgres import Cluster
from models.serving import segments, shipper
from models.serving.landing import land
from models.serving.segments import Segment
from models.serving.spool import Answered, RequestLog
from pipelines import database, migrations
from pipelines.errors import LogFullError
from pipelines.settings import PROJECT

INPUTS = json.dumps({"discharge_m3s": 1.25, "text": 'tab\t quote" back\\slash\nline', "missing": None}).encode()
Make = Callable[..., RequestLog]


def answer(**changes: Any) -> Answered:
    """An answer of one row."""
    row = {
        "prediction_id": str(uuid.uuid4()), "entity": "01", "day": "2026-03-01", "model_version": 1, "arm": "champion",
    }  # fmt: skip
    row |= {name: changes.pop(name) for name in row if name in changes}
    made = Answered(
        uuid.uuid4().hex, "flood", "online", datetime.now(UTC).isoformat(), 1.5, [tuple(row.values())],
        [changes.pop("inputs", INPUTS)], [b'{"discharge_m3s": 2.5}'],
    )  # fmt: skip
    return made._replace(**changes)


def id_of(one: Answered) -> str:
    return one.rows[0][0]


def await_that(holds: Callable[[], bool], within_s: float = 60.0) -> None:
    until = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < until, "it did not come to hold"
        time.sleep(0.02)


def ids(url: str) -> list[object]:
    return values(url, "select prediction_id::text from serving.predictions where channel <> 'batch' order by 1")


def files(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*.*") if path.is_file())


@pytest.fixture
def log(tmp_path: Path, url: str) -> Iterator[Make]:
    """Makes logs in one folder, which are closed at the end."""
    made: list[RequestLog] = []

    def make(at: str = url, **options: Any) -> RequestLog:
        made.append(RequestLog(tmp_path / "spool", lambda: at, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_an_answer_is_in_the_table_a_second_later_as_it_was_given(log: Make, url: str, tmp_path: Path) -> None:
    of_entity = answer(entity="a\\b\tc\nd\re", request_id="\0x")
    of_rows = answer(entity=None, day=None, channel="shadow", arm="challenger", model_version=2)
    log().append(of_entity, of_rows)
    await_that(lambda: len(ids(url)) == 2 if database.exists(url, "serving.predictions") else False)
    first, second = database.query(url, "select * from serving.predictions order by channel")
    assert (str(first["prediction_id"]), first["entity"], first["request_id"]) == (
        id_of(of_entity), "a\\b\tc\nd\re", "\ufffdx")  # fmt: skip
    assert first["inputs"] == json.loads(INPUTS)
    assert first["outputs"] == {"discharge_m3s": 2.5}
    assert (str(first["day"]), first["latency_ms"], first["arm"]) == ("2026-03-01", 1.5, "champion")
    assert first["predicted_at"].isoformat() == of_entity.predicted_at
    assert (second["entity"], second["day"], second["channel"], second["arm"]) == (None, None, "shadow", "challenger")
    await_that(lambda: [name for name in files(tmp_path) if name.endswith(".rows")] == [])


@pytest.mark.slow
def test_no_answer_is_lost_or_doubled_while_postgres_goes_away_and_comes_back_under_load(tmp_path: Path) -> None:
    home, port = Path(tempfile.mkdtemp(prefix="headwater-outage-")), free_port()
    home.chmod(0o711)
    cluster = Cluster(home, THROWAWAY)
    try:
        cluster.init()
        cluster.start(port)
        url = cluster.url("postgres", port)
        logs = [RequestLog(tmp_path / "spool", lambda: url, segment_bytes=50_000) for _ in range(2)]
        answered: list[str] = []
        stop = threading.Event()

        def ask(one: RequestLog) -> None:
            while not stop.is_set():
                rows = [answer() for _ in range(3)]
                one.append(*rows)
                answered.extend(id_of(row) for row in rows)
                time.sleep(0.003)

        threads = [threading.Thread(target=ask, args=(one,)) for one in logs]
        for thread in threads:
            thread.start()
        await_that(lambda: all(one.backlog().shipped for one in logs))
        for _ in range(2):
            cluster.stop()
            await_that(lambda: all(one.backlog().failing for one in logs))
            waiting = [one.backlog() for one in logs]
            time.sleep(1.0)
            assert all(one.backlog().rows > before.rows for one, before in zip(logs, waiting, strict=True))
            cluster.start(port)
            await_that(lambda: not any(one.backlog().failing for one in logs))
        stop.set()
        for thread in threads:
            thread.join()
        await_that(lambda: not any(one.backlog().rows for one in logs))
        for one in logs:
            one.close()
        assert ids(url) == sorted(answered)
        assert len(answered) > 1000
        assert [name for name in files(tmp_path) if not name.endswith("lock")] == []
    finally:
        cluster.destroy()
        shutil.rmtree(home, ignore_errors=True)


@pytest.mark.slow
def test_what_a_killed_process_had_answered_is_shipped_by_the_next_one(log: Make, url: str, tmp_path: Path) -> None:
    program = f"""
import sys
sys.path[:0] = [{str(PROJECT)!r}, {str(PROJECT / "tests")!r}]
from pathlib import Path
from db.test_request_log import answer, id_of
from models.serving.spool import RequestLog
log = RequestLog(Path({str(tmp_path / "spool")!r}), lambda: {url!r})
while True:
    row = answer()
    log.append(row)
    print(id_of(row), flush=True)
"""
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    told = [process.stdout.readline().strip() for _ in range(2000)]
    process.send_signal(signal.SIGKILL)
    told += process.stdout.read().split()
    process.wait()
    (orphan,) = (path for path in (tmp_path / "spool").iterdir() if path.is_dir() and path.name != "refused")
    with next(orphan.glob("*.open")).open("ab") as half:
        half.write(b"half of a li")
    log()
    log()  # two that start at once do not both take it
    await_that(lambda: not orphan.exists())
    found = ids(url)
    assert set(told) <= set(found), "also the last one that was told"
    assert len(found) - len(told) <= 1, "one may have been written and not told"
    assert len(set(found)) == len(found)
    (refused,) = (tmp_path / "spool" / "refused").glob(f"{orphan.name}-*.jsonl")
    assert json.loads(refused.read_text()) == {"reason": "cut off: its writer was killed in the midst of it, before it "
                                               "answered", "line": "half of a li"}  # fmt: skip


def test_the_folder_of_a_writer_that_lives_is_left_to_it(url: str, tmp_path: Path) -> None:
    living = segments.Writer(tmp_path, 10_000)
    living.append(b"a row\n", 1)
    with segments.taken_over(tmp_path, tmp_path / "own") as found:
        assert found == []
    living.close()
    with segments.taken_over(tmp_path, tmp_path / "own") as found:
        assert [segment.path.read_bytes() for (segment,) in found] == [b"a row\n"]


def test_a_segment_whose_commit_was_not_heard_of_is_not_shipped_again(url: str, tmp_path: Path) -> None:

    path = tmp_path / "writer" / "1.rows"
    path.parent.mkdir()
    path.write_bytes(answer().lines())
    connection = psycopg2.connect(url)
    migrations.ensure(connection)
    segment = Segment(path)
    for _ in range(2):
        land(connection, segment, [], tmp_path)
    assert len(ids(url)) == 1
    assert values(url, "select segment from serving.shipped") == ["writer/1"]
    other = Segment(path.with_name("2.rows"))
    other.path.write_bytes(answer().lines())
    land(connection, other, [segment.name], tmp_path)
    assert values(url, "select segment from serving.shipped") == ["writer/2"], "what is deleted is forgotten"
    connection.close()


def test_rows_wait_on_the_disk_while_the_warehouse_is_newer_than_the_service(
    log: Make, url: str, tmp_path: Path
) -> None:
    database.ensure_ops(url)
    database.query(url, "insert into ops.migrations (version, name, sha256, headwater) values (99, 'x', 'x', '9.1.0')")
    one = log()
    one.append(answer())
    await_that(lambda: "knows up to version" in (one.backlog().failing or ""))
    assert ids(url) == []
    assert [name for name in files(tmp_path) if name.endswith((".open", ".rows"))] != []
    database.query(url, "delete from ops.migrations where version = 99")
    await_that(lambda: len(ids(url)) == 1)


def test_rows_that_postgres_refuses_do_not_hold_up_the_others_and_are_kept_with_the_reason(
    log: Make, url: str, tmp_path: Path
) -> None:
    bad = [answer(inputs=b"{no json"), answer(prediction_id="no-id"), answer(predicted_at="yesterday-ish")]
    good = [answer() for _ in range(20)]
    one = log()
    one.append(*good[:7], bad[0], bad[1], *good[7:15], bad[2], *good[15:])
    await_that(lambda: one.backlog().refused == 3)
    assert ids(url) == sorted(id_of(row) for row in good)
    (path,) = (tmp_path / "spool" / "refused").iterdir()
    kept = [json.loads(line) for line in path.read_text().splitlines()]
    assert ["json" in kept[0]["reason"], "uuid" in kept[1]["reason"], "timestamp" in kept[2]["reason"]] == [True] * 3
    assert id_of(bad[0]) in kept[0]["line"]
    later = answer()
    one.append(later)
    await_that(lambda: id_of(later) in ids(url))


def test_what_nobody_has_thought_of_is_told_and_the_log_is_shipped_when_it_is_over(
    log: Make, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*_: Any) -> None:
        raise ValueError("a thing that nobody has thought of")

    with monkeypatch.context() as patch:
        patch.setattr("models.serving.shipper.land", breaks)
        one, row = log(), answer()
        one.append(row)
        await_that(lambda: one.backlog().failing == "a thing that nobody has thought of")
    await_that(lambda: ids(url) == [id_of(row)])


def test_where_there_is_no_room_rows_are_turned_away_loudly_and_nothing_that_was_taken_is_lost(
    log: Make, url: str, tmp_path: Path
) -> None:
    one = log("postgresql://127.0.0.1:9/nowhere", limit_bytes=20_000)
    taken = []
    while one.backlog().bytes < 19_500:
        taken.append(answer())
        one.append(taken[-1])
    with pytest.raises(LogFullError, match=r"takes no more rows: .* wait for the database, and 20000 are allowed"):
        one.append(answer(), answer())
    await_that(lambda: one.backlog().failing is not None)
    backlog = one.backlog()
    assert (backlog.turned_away, backlog.rows) == (2, len(taken))
    assert backlog.bytes <= 20_000
    assert "Connection refused" in str(backlog.failing)
    one.close()
    log()
    await_that(lambda: database.exists(url, "serving.predictions") and len(ids(url)) == len(taken))
    assert ids(url) == sorted(id_of(row) for row in taken)


def test_a_disk_that_is_full_in_the_midst_of_a_row_takes_it_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = segments.Writer(tmp_path, 10_000)
    writer.append(b"first\n", 1)
    write = os.write
    monkeypatch.setattr(segments.os, "write", lambda fd, data: write(fd, data[:3]))
    with pytest.raises(LogFullError, match="the disk is full"):
        writer.append(b"second\n", 1)
    monkeypatch.undo()
    writer.append(b"third\n", 1)
    writer.rotate()
    assert writer.closed()[0].path.read_bytes() == b"first\nthird\n"
    writer.close()


def test_closing_ships_what_is_there_and_takes_no_more(log: Make, url: str, tmp_path: Path) -> None:
    one, row = log(), answer()
    one.append(row)
    one.close()
    assert ids(url) == [id_of(row)]
    with pytest.raises(LogFullError, match="its service is ending"):
        one.append(answer())
    assert [path.name for path in (tmp_path / "spool").iterdir()] == ["lock"]


def test_during_an_outage_files_grow_instead_of_becoming_many(
    log: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shipper, "MOST_WAIT_S", 0.1)
    monkeypatch.setattr(shipper, "INTERVAL_S", 0.05)
    one = log("postgresql://127.0.0.1:9/nowhere", segment_bytes=5_000)
    await_that(lambda: one.backlog().failing is not None)
    for _ in range(60):
        one.append(answer())
        time.sleep(0.01)
    waiting = one.backlog()
    rows = [path for path in (tmp_path / "spool").rglob("*") if path.suffix in {".rows", ".open"}]
    assert waiting.rows == 60
    assert 2 < len(rows) <= waiting.bytes // 5_000 + 2
