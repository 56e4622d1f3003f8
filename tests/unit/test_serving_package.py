"""Building a Bento, without BentoML: what is in its place is whole."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from models.serving import package
from pipelines.errors import ModelError
from pipelines.settings import Settings

TAG = "headwater-flood:v3"
BENTOS = "bentoml/bentos/headwater-flood"


@pytest.fixture
def bentoml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Builds version 3 by a BentoML that writes two files, or fails after the first; gives the names beside it."""

    def build(error: BaseException | None = None, meanwhile: Callable[[], object] = lambda: None) -> list[str]:
        def run(*_: object, env: dict[str, str], **__: object) -> SimpleNamespace:
            folder = Path(env["BENTOML_HOME"], "bentos/headwater-flood/v3")
            folder.mkdir(parents=True)
            (folder / "bento.yaml").touch()
            meanwhile()
            if error is not None:
                raise error
            (folder.parent / "latest").write_text("v3")
            (folder / "model.pkl").touch()
            return SimpleNamespace(returncode=0)

        monkeypatch.setattr(package.subprocess, "run", run)
        try:
            package._build(tmp_path, TAG, Settings(home=tmp_path / "home"))
        finally:
            left = sorted(path.name for path in (tmp_path / "home" / BENTOS).iterdir())
        return left

    return build


def test_a_bento_is_in_its_place_when_all_of_it_is_built(bentoml: Callable[..., list[str]], tmp_path: Path) -> None:
    place = tmp_path / "home" / BENTOS
    left = place / ".part-killed"
    left.mkdir(parents=True)
    os.utime(left, (0, 0))
    with pytest.raises(KeyboardInterrupt):
        bentoml(KeyboardInterrupt())
    assert list(place.iterdir()) == [], "neither the half, nor what one before has left"
    assert bentoml(meanwhile=lambda: _is_absent(place / "v3")) == ["latest", "v3"]
    assert sorted(path.name for path in (place / "v3").iterdir()) == ["bento.yaml", "model.pkl"]


def _is_absent(path: Path) -> None:
    assert not path.exists()


def test_a_build_that_hangs_and_one_that_another_process_has_done_are_told(
    bentoml: Callable[..., list[str]], tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=r"BentoML has not built headwater-flood:v3 within 300 s; the end of "):
        bentoml(subprocess.TimeoutExpired("bentoml", 300))
    theirs = tmp_path / "home" / BENTOS / "v3"
    theirs.mkdir()
    (theirs / "bento.yaml").write_text("theirs")
    with pytest.raises(ModelError, match="has been built by another process meanwhile"):
        bentoml()
    assert (theirs / "bento.yaml").read_text() == "theirs"
