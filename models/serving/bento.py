"""BentoML as child processes: their environment, where their Bentos are, and how they are ended."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

import psutil

from models.serving.card import file_sha256
from pipelines import shared
from pipelines.settings import PREFIX, Settings

BENTO_FILE = "bento.yaml"
"""What BentoML writes into every Bento."""


def bento_home(settings: Settings) -> Path:
    """BentoML's store of Bentos."""
    return settings.home / "bentoml"


def bento_folder(settings: Settings, tag: str, sha256: str | None = None) -> Path:
    """Folder of a built Bento, by a tag such as `headwater-flood:v3`; brought here where another machine has built it.

    With `sha256`, one that was built here and is another one gives way to that of the store.

    Raises:
        StorageError: the store that is shared with other machines cannot be used.
    """
    name, _, version = tag.partition(":")
    folder = bento_home(settings) / "bentos" / name / version
    # The store is only asked where it must be: what is here can be served without it
    if not shared.fetch_folder(settings, folder, BENTO_FILE) or sha256 in {None, bento_sha256(folder)}:
        return folder
    return stored_folder(settings, tag)


def stored_folder(settings: Settings, tag: str) -> Path:
    """As `bento_folder`, where another build of it than the one here may have been published.

    Raises:
        StorageError: the store that is shared with other machines cannot be used.
    """
    folder = bento_folder(settings, tag)
    shared.take_stored(settings, folder, BENTO_FILE)
    return folder


def bento_sha256(folder: Path) -> str:
    """A hash of the names and bytes of a Bento's files, but for those that Python compiles when it is served."""
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            found.update(f"{path.relative_to(folder).as_posix()} {file_sha256(path)}\n".encode())
    return found.hexdigest()


def publish(settings: Settings, tag: str) -> None:
    """Hands a built Bento to the other machines, where there are some and they have none of that tag.

    Where they have one, that one counts, and `stored_folder` brings it here.

    Raises:
        StorageError: the store that is shared with them cannot be used.
    """
    folder = bento_folder(settings, tag)
    shared.put_folder(settings, folder, BENTO_FILE, bento_sha256(folder))


def child_environment(settings: Settings) -> dict[str, str]:
    """The environment in which a Bento is built and tried out: this process's, with BentoML's and none of ours.

    Without a database it answers rows, keeps no log of them and follows nothing: what is asked to try it out is no
    request of anybody's. The home is another one, where it finds no `stack.env`.
    """
    bento_home(settings).mkdir(parents=True, exist_ok=True)
    return {
        **{key: value for key, value in os.environ.items() if not key.startswith(PREFIX)},
        "BENTOML_HOME": str(bento_home(settings)),
        "BENTOML_DO_NOT_TRACK": "True",
        f"{PREFIX}HOME": str(bento_home(settings)),
    }


def worker_environment(settings: Settings, metrics: Path) -> dict[str, str]:
    """This process's environment with BentoML's settings set, for a worker that runs the project's own code.

    `metrics` is the folder in which the workers count together.
    """
    return {
        **os.environ,
        "BENTOML_HOME": str(bento_home(settings)),
        "BENTOML_DO_NOT_TRACK": "True",
        "PROMETHEUS_MULTIPROC_DIR": str(metrics),
        **{f"{PREFIX}{name}": value for name, value in _own(settings).items()},
    }


def _own(settings: Settings) -> dict[str, str]:
    """The settings that a worker must not read otherwise than who started it, which may have been given its own."""
    found = {"HOME": str(settings.home), "SERVING_WORKERS": str(settings.serving_workers)}
    if settings.database_url is not None:
        found["DATABASE_URL"] = settings.database_url.get_secret_value()
    return found | {"SERVING_KEYS": settings.serving_keys}


def end(process: subprocess.Popen[bytes], timeout_s: float = 10.0) -> None:
    """Ends a child and all its descendants: asked first, killed after `timeout_s`.

    The descendants are listed by hand because BentoML's supervisor puts its workers into sessions of their
    own, where a signal to the child's process group does not reach them.
    """
    try:
        family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        family = []
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    _, alive = psutil.wait_procs(family, timeout=1.0)
    for survivor in alive:
        survivor.kill()
    psutil.wait_procs(alive, timeout=5.0)


def last_lines(log: Path, count: int = 15) -> str:
    """The last lines of a child's log, for an error message."""
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-count:])
