"""What machines share through an object store: reports and Bentos; without one, the home folder is all there is."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import SecretStr

from models.drift import reports
from models.serving import bento, package
from models.serving.card import ServingCard
from pipelines import shared
from pipelines.errors import NotFoundError, SettingsError, StorageError
from pipelines.registry import get_use_case
from pipelines.settings import Settings
from pipelines.storage import Store

FLOOD = get_use_case("flood")
TAG = "headwater-flood:v3"
CARD = ServingCard(
    use_case="flood", version=3, run_id="run", entity="site_id", day="day", feature_table="flood.features",
    features=[{"name": "x", "type": "float"}], outputs=["y"], title="Floods", doc="A test's model.",
    model_sha256="0" * 64, created_at=datetime(2026, 1, 1, tzinfo=UTC),
)  # fmt: skip


def _machine(home: Path, store: Store) -> Settings:
    options = {name: SecretStr(value) for name, value in store.options.items()}
    return Settings(home=home, files_url=store.url, lake_options=options)


@pytest.fixture
def one(tmp_path: Path, s3_lake: Store) -> Settings:
    """A machine."""
    return _machine(tmp_path / "one", s3_lake)


@pytest.fixture
def other(tmp_path: Path, s3_lake: Store) -> Settings:
    """Another one with nothing of its own."""
    return _machine(tmp_path / "other", s3_lake)


def _write(settings: Settings, name: str, text: str) -> Path:
    path = settings.home / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_a_report_is_read_on_another_machine_than_wrote_it(
    airflow: None, one: Settings, other: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from headwater_ui.routes import files as routes

    for day in ("2026-03-01", "2026-03-02"):
        shared.put(one, _write(one, f"reports/flood/drift/{day}.html", f"page of {day}"))
        shared.put(one, _write(one, f"reports/flood/drift/{day}.json", f'{{"window": "{day}"}}'))
    shared.put(one, _write(one, "reports/flood/drift/deeper/x.html", "not one of them"))
    monkeypatch.setattr(routes, "get_settings", lambda: other)
    assert routes.reports_of(FLOOD, "drift") == ["2026-03-02.html", "2026-03-01.html"]
    answer = routes.report(FLOOD, "drift", "2026-03-01.html")
    assert (answer.body, answer.media_type) == (b"page of 2026-03-01", "text/html")
    assert answer.headers["Content-Security-Policy"].startswith("sandbox")
    assert reports.newest(FLOOD, other) == {"window": "2026-03-02"}
    with pytest.raises(Exception, match=r"flood has no report drift/2026-03-03\.html"):
        routes.report(FLOOD, "drift", "2026-03-03.html")


def test_where_nothing_was_written_there_is_no_report(other: Settings) -> None:
    with pytest.raises(NotFoundError, match="flood has no drift report yet"):
        reports.newest(FLOOD, other)


def test_what_is_forgotten_is_gone_everywhere(one: Settings, other: Settings) -> None:
    path = _write(one, "reports/flood/quality/days/x.csv", "a")
    shared.put(one, path)
    shared.forget(one, [path, path.with_name("never.csv")])
    assert shared.names(other, other.home / "reports/flood/quality/days") == []
    assert not path.exists()


def test_a_bento_is_served_on_another_machine_than_built_it(one: Settings, other: Settings) -> None:
    folder = one.home / "bentoml/bentos/headwater-flood/v3"
    for name in ("bento.yaml", "src/bento/model.onnx", "src/models/serving/service.py"):
        _write(one, f"bentoml/bentos/headwater-flood/v3/{name}", name)
    assert not bento.bento_folder(other, TAG).exists()
    bento.publish(one, TAG)
    found = bento.bento_folder(other, TAG)
    assert found == other.home / "bentoml/bentos/headwater-flood/v3"
    assert {path.relative_to(found) for path in found.rglob("*")} == {
        path.relative_to(folder) for path in folder.rglob("*")
    }
    assert (found / "src/bento/model.onnx").read_text() == "src/bento/model.onnx"
    assert list(found.parent.iterdir()) == [found]


def test_workers_that_all_come_for_a_bento_at_once_all_get_it_whole(one: Settings, other: Settings) -> None:
    names = [f"src/{number}" for number in range(20)]
    for name in ("bento.yaml", *names):
        _write(one, f"bentoml/bentos/headwater-flood/v3/{name}", name)
    bento.publish(one, TAG)
    with ThreadPoolExecutor(8) as threads:
        folders = list(threads.map(lambda _: bento.bento_folder(other, TAG), range(8)))
    (found,) = set(folders)
    assert {path.name for path in (found / "src").iterdir()} == {name.partition("/")[2] for name in names}
    assert list(found.parent.iterdir()) == [found]


def _build(settings: Settings, at: str) -> Path:
    """A Bento as a machine has built it, at that time."""
    _write(settings, "bentoml/bentos/headwater-flood/v3/src/x", at)
    return _write(settings, "bentoml/bentos/headwater-flood/v3/bento.yaml", f"creation_time: {at}").parent


def test_a_bento_that_is_published_is_never_replaced_and_a_machine_with_another_build_takes_it(
    one: Settings, other: Settings, tmp_path: Path
) -> None:
    theirs, ours = _build(other, "12:00"), _build(one, "11:00")
    bento.publish(other, TAG)
    bento.publish(one, TAG)
    third = one.model_copy(update={"home": tmp_path / "third"})
    promoted = bento.bento_sha256(theirs)
    assert bento.bento_sha256(bento.bento_folder(third, TAG)) == promoted
    assert bento.bento_sha256(bento.bento_folder(one, TAG, promoted)) == promoted
    _build(one, "11:00")
    assert bento.bento_sha256(bento.stored_folder(one, TAG)) == promoted
    assert list(ours.parent.iterdir()) == [ours]


def test_of_two_that_publish_at_once_one_build_counts_and_is_whole(
    one: Settings, other: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    builds = {bento.bento_sha256(_build(machine, at)) for machine, at in ((one, "11:00"), (other, "12:00"))}
    barrier, write_file = threading.Barrier(2), Store.write_file

    def in_step(store: Store, name: str, path: Path) -> None:
        barrier.wait(30)  # file by file, so that each writes between the other's
        write_file(store, name, path)

    monkeypatch.setattr(Store, "write_file", in_step)
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(lambda machine: bento.publish(machine, TAG), (one, other)))
    third = one.model_copy(update={"home": tmp_path / "third"})
    published = bento.bento_sha256(bento.bento_folder(third, TAG))
    assert published in builds
    for machine in (one, other):
        assert bento.bento_sha256(bento.stored_folder(machine, TAG)) == published


@pytest.mark.parametrize("built_before", [False, True])
def test_who_built_while_another_published_goes_on_with_the_other_s_build(
    one: Settings, other: Settings, monkeypatch: pytest.MonkeyPatch, built_before: bool
) -> None:
    monkeypatch.setattr(package, "file_sha256", lambda _: CARD.model_sha256)
    monkeypatch.setattr(package, "read_card", lambda _: CARD)
    monkeypatch.setattr(package, "_assemble", lambda *_: None)
    theirs = _build(other, "12:00")

    def publish(settings: Settings, tag: str) -> None:
        bento.publish(other, TAG)
        bento.publish(settings, tag)

    monkeypatch.setattr(package, "publish", publish)
    monkeypatch.setattr(package, "_build", lambda *_: _build(one, "11:00"))
    if built_before:
        _build(one, "11:00")
    package.build_bento(FLOOD, Path("model.pkl"), CARD, settings=one)
    assert bento.bento_sha256(bento.bento_folder(one, TAG)) == bento.bento_sha256(theirs)


def test_a_bento_from_before_builds_had_a_folder_of_their_own_is_fetched_and_not_replaced(
    one: Settings, other: Settings
) -> None:
    shared.put(one, *sorted(path for path in _build(one, "11:00").rglob("*") if path.is_file())[::-1])
    _build(other, "12:00")
    bento.publish(other, TAG)
    assert (bento.stored_folder(other, TAG) / "src/x").read_text() == "11:00"


def test_what_is_not_kept_is_set_aside_and_another_build_takes_its_name(one: Settings, other: Settings) -> None:
    bentos = one.home / "bentoml/bentos"
    kept = bento.bento_sha256(_build(one, "11:00"))
    bento.publish(one, TAG)
    shared.put(one, _write(one, "bentoml/bentos/headwater-flood/v2/bento.yaml", "from before builds had a folder"))
    assert shared.keep_only(one, bentos, "bento.yaml", {"headwater-flood/v2": "any", "headwater-flood/v3": kept}) == []
    _build(other, "12:00")
    bento.publish(other, TAG)
    assert bento.bento_sha256(bento.stored_folder(other, TAG)) == kept
    gone = ["headwater-flood/v2", "headwater-flood/v3"]
    assert shared.keep_only(one, bentos, "bento.yaml", {"headwater-flood/v3": "another"}) == gone
    later = bento.bento_sha256(_build(other, "12:00"))
    bento.publish(other, TAG)
    assert bento.bento_sha256(bento.stored_folder(one, TAG)) == later
    third = one.model_copy(update={"home": one.home.with_name("third")})
    assert not bento.bento_folder(third, "headwater-flood:v2").exists()
    assert one.files is not None
    assert (one.files / "bentoml/bentos/headwater-flood").read("v3.build.aside").decode() == kept


def test_what_is_here_and_as_promoted_is_served_while_the_store_is_away(
    one: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    promoted = bento.bento_sha256(_build(one, "11:00"))

    def away(*_: object) -> bool:
        raise StorageError("the store is away")

    monkeypatch.setattr(Store, "exists", away)
    assert bento.bento_folder(one, TAG, promoted).is_dir()


def test_a_build_that_could_not_be_published_is_gone_so_that_another_machine_s_counts(
    one: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(package, "file_sha256", lambda _: CARD.model_sha256)
    monkeypatch.setattr(package, "_assemble", lambda *_: None)
    monkeypatch.setattr(package, "_build", lambda *_: _build(one, "11:00"))

    def away(*_: object) -> None:
        raise StorageError("the store is away")

    monkeypatch.setattr(Store, "write_file", away)
    with pytest.raises(StorageError, match="is away"):
        package.build_bento(FLOOD, Path("model.pkl"), CARD, settings=one)
    assert not bento.bento_folder(one, TAG).exists()


def test_a_file_that_is_gone_from_the_store_meanwhile_makes_no_half_bento(
    one: Settings, other: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    _build(one, "11:00")
    bento.publish(one, TAG)
    monkeypatch.setattr(Store, "copy_to", lambda *_: False)
    with pytest.raises(StorageError, match="is gone from"):
        bento.bento_folder(other, TAG)
    assert list((other.home / "bentoml/bentos/headwater-flood").iterdir()) == []


def test_what_a_killed_fetch_has_left_goes_with_a_later_one(one: Settings, other: Settings) -> None:
    _build(one, "11:00")
    bento.publish(one, TAG)
    left, running = (other.home / f"bentoml/bentos/headwater-flood/.part-{name}" for name in ("left", "running"))
    left.mkdir(parents=True)
    os.utime(left, (0, 0))
    running.mkdir()
    found = bento.bento_folder(other, TAG)
    assert set(found.parent.iterdir()) == {found, running}


def test_half_a_bento_is_none(one: Settings, other: Settings) -> None:
    shared.put(one, _write(one, "bentoml/bentos/headwater-flood/v3/src/bento/model.onnx", "half"))
    assert not bento.bento_folder(other, TAG).exists()


def test_a_bento_that_was_cut_off_on_its_way_is_fetched_anew(
    one: Settings, other: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("bento.yaml", "src/x"):
        _write(one, f"bentoml/bentos/headwater-flood/v3/{name}", name)
    bento.publish(one, TAG)
    with monkeypatch.context() as patched:

        def cut(*_: object) -> bool:
            raise StorageError("the store is away")

        patched.setattr(Store, "copy_to", cut)
        with pytest.raises(StorageError, match="is away"):
            bento.bento_folder(other, TAG)
    assert not (other.home / "bentoml/bentos/headwater-flood/v3").exists()
    assert (bento.bento_folder(other, TAG) / "src/x").read_text() == "src/x"


def test_without_a_store_nothing_leaves_the_home_folder(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    path = _write(settings, "reports/flood/drift/2026-03-01.html", "page")
    shared.put(settings, path)
    assert shared.read(settings, path) == b"page"
    assert shared.names(settings, path.parent) == [path.name]
    assert shared.read(settings, path.with_name("x.html")) is None
    assert not bento.bento_folder(settings, TAG).exists()
    assert settings.files is None


def test_a_store_of_an_unknown_kind_is_refused() -> None:
    with pytest.raises(SettingsError, match="is no place for"):
        _ = Settings(files_url="ftp://host/files").files
