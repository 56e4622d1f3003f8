"""Packages a model as a Bento: the service, the sources it needs, the card and the model in one folder."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from models.serving.bento import bento_home, child_environment, last_lines, publish, stored_folder
from models.serving.card import BENTO_FOLDER, MODEL_FILE, ServingCard, file_sha256, read_card
from models.serving.smoke import smoke_test
from models.serving.sources import needed
from pipelines.errors import ModelError, StorageError
from pipelines.settings import PROJECT, Settings, get_settings
from pipelines.spec import UseCase

__all__ = ["build_bento", "smoke_test"]

REQUIREMENTS = "requirements/serving.txt"
PART = ".part-"
MOST_S = 300.0
"""How long a build may take."""
STALE_S = 3600.0
"""No build takes that long."""

logger = logging.getLogger(__name__)


def build_bento(
    use_case: UseCase,
    model_file: Path,
    card: ServingCard,
    *,
    beside: Path | None = None,
    settings: Settings | None = None,
) -> str:
    """Builds the Bento of a model version and gives its tag, such as `headwater-flood:v3`.

    Building the same version of the same model again changes nothing, and where another machine was faster its build is
    the one that is here afterwards. `beside` is the folder of the card's `files`.

    Raises:
        ModelError: a file is not the one that the card names, the version was built from another model, or BentoML
            refuses or hangs (its last lines are in the message).
        StorageError: it cannot be handed to the other machines; what was built is gone again.
    """
    settings = settings or get_settings()
    if card.use_case != use_case.slug:
        raise ModelError(f"The card is for {card.use_case}, not for {use_case.slug}.")
    if (found := file_sha256(model_file)) != card.model_sha256:
        raise ModelError(f"{model_file} has the hash {found}, but its card says {card.model_sha256}.")
    tag = f"{use_case.bento}:v{card.version}"
    bento = stored_folder(settings, tag)
    if _is_built(bento, tag, card):
        logger.info("%s is already built from the same model.", tag)
        publish(settings, tag)
        _take_published(settings, tag, card)
        return tag
    with tempfile.TemporaryDirectory(prefix="headwater-bento-") as name:
        folder = Path(name)
        _assemble(folder, use_case, model_file, card)
        for file in card.files:
            shutil.copy((beside or model_file.parent) / file, folder / BENTO_FOLDER / file)
        _build(folder, tag, settings)
    try:
        publish(settings, tag)
    except StorageError:
        # Another machine may try again, and then its build is the one
        shutil.rmtree(bento)
        raise
    _take_published(settings, tag, card)
    logger.info("Built %s.", tag)
    return tag


def _take_published(settings: Settings, tag: str, card: ServingCard) -> None:
    """What is tried out and put into evidence from here on is what all machines can fetch."""
    _is_built(stored_folder(settings, tag), tag, card)


def _is_built(bento: Path, tag: str, card: ServingCard) -> bool:
    if not bento.exists():
        return False
    built = read_card(bento / "src" / BENTO_FOLDER)
    if built.model_sha256 != card.model_sha256:
        raise ModelError(
            f"{tag} was built from another model ({built.model_sha256[:12]}, not {card.model_sha256[:12]}); "
            "a version is never replaced, so register the model as a new one."
        )
    return True


def _assemble(folder: Path, use_case: UseCase, model_file: Path, card: ServingCard) -> None:
    for path in (*needed(use_case.slug, model_file), Path(REQUIREMENTS)):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PROJECT / path, folder / path)
    (folder / BENTO_FOLDER).mkdir()
    shutil.copy(model_file, folder / BENTO_FOLDER / MODEL_FILE)
    card.write(folder / BENTO_FOLDER)
    bentofile = {
        "service": "models.serving.service:Predictions",
        "name": use_case.bento,
        "description": f"# {card.title}, version {card.version}\n\n{card.doc}",
        "labels": {"use_case": card.use_case, "run_id": card.run_id},
        "include": ["*"],
        # The requirements are a lock already; locking them again would ask the package index.
        "python": {"requirements_txt": REQUIREMENTS, "lock_packages": False, "pack_git_packages": False},
    }
    # JSON is YAML.
    (folder / "bentofile.yaml").write_text(json.dumps(bentofile, indent=2), encoding="utf-8")


def _build(folder: Path, tag: str, settings: Settings) -> None:
    """Builds a Bento, and puts it into its place when it is whole: one that is killed meanwhile leaves none there."""
    name, _, version = tag.partition(":")
    place = bento_home(settings) / "bentos" / name / version
    place.parent.mkdir(parents=True, exist_ok=True)
    _sweep(place.parent)
    # On the same file system, which the folder of all Bentos may be by itself
    with tempfile.TemporaryDirectory(dir=place.parent, prefix=PART) as home:
        _run(folder, tag, settings, home)
        built = Path(home, "bentos", name)
        try:
            (built / version).rename(place)
        except OSError:
            if not place.exists():
                raise
            raise ModelError(f"{tag} has been built by another process meanwhile; try again.") from None
        (built / "latest").replace(place.parent / "latest")


def _sweep(folder: Path) -> None:
    """Deletes what builds that were killed have left."""
    for left in folder.glob(f"{PART}*"):
        with suppress(FileNotFoundError):  # its own build has ended meanwhile
            if left.stat().st_mtime < time.time() - STALE_S:
                shutil.rmtree(left)


def _run(folder: Path, tag: str, settings: Settings, home: str) -> None:
    """Runs `bentoml build` with a home.

    In a process of its own: BentoML imports the service to build it, and in this process `models` is the
    project's, which has no card, not the build folder's.
    """
    logs = bento_home(settings) / "logs"
    environment = child_environment(settings) | {"BENTOML_HOME": home}
    logs.mkdir(parents=True, exist_ok=True)
    log = logs / f"build-{tag.replace(':', '-')}.log"
    command = [sys.executable, "-m", "bentoml", "build", "--version", tag.partition(":")[2], "--output", "tag"]
    with log.open("wb") as output, tempfile.TemporaryDirectory(prefix="headwater-tools-") as tools:
        # BentoML wants uv, or installs it, also where it has nothing to lock; this one is there and does nothing
        Path(tools, "uv").symlink_to(shutil.which("false") or sys.executable)
        environment["PATH"] = f"{tools}{os.pathsep}{environment.get('PATH', os.defpath)}"
        try:
            done = subprocess.run(
                command, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT, timeout=MOST_S,
                check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            said = f"BentoML has not built {tag} within {MOST_S:g} s; the end of {log}:\n{last_lines(log)}"
            raise ModelError(said) from None
    if done.returncode != 0:
        raise ModelError(f"BentoML could not build {tag}; the end of {log}:\n{last_lines(log)}")
