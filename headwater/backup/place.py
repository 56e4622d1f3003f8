"""What is backed up and where it is: of the local stack, and of the containers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from headwater.stack import config
from headwater.stack.databases import create_databases
from headwater.stack.files import free_port
from headwater.stack.postgres import Cluster
from pipelines.errors import NotFoundError, StackError
from pipelines.settings import PREFIX, Settings
from pipelines.storage import Store

DATABASES = ("headwater", "mlflow")
"""The warehouse first: whatever it names of the registry is there when that is copied later."""
Kind = Literal["stack", "containers"]


@dataclass(frozen=True, slots=True)
class Place:
    """Databases by name, each as a role that may read and make everything in it, and the folders beside them."""

    kind: Kind
    urls: Mapping[str, str]
    home: Path
    lake: Store

    @property
    def folders(self) -> dict[str, Path]:
        """The folders that are backed up, by their name in the backup."""
        return {"artifacts": self.home / "mlflow" / "artifacts", "bentos": self.home / "bentoml" / "bentos"}


@contextmanager
def local(settings: Settings, *, fresh: bool = False) -> Iterator[Place]:
    """The local stack's; its Postgres is started where it does not run, and ended again.

    Args:
        settings: with the home folder of the stack.
        fresh: it is to be filled, so nothing may run, and its databases are made.

    Raises:
        NotFoundError: there is no stack in the home folder.
        StackError: the stack runs and is to be filled, or the warehouse is another than its own.
    """
    cluster, kept = Cluster(settings.home), config.load(settings.home)
    _refuse_foreign(settings, kept)
    if not fresh and not (cluster.folder / "secrets.json").exists():
        raise NotFoundError(f"There is no stack in {settings.home} to back up; start one with `headwater up`.")
    port = int(kept.get("PORT_POSTGRES") or 0)
    if port and cluster.answers(port):
        if fresh:
            raise StackError("The stack runs, and a backup is restored into one that does not; run `headwater down`.")
        yield _local(settings, cluster, port)
        return
    cluster.init()
    port = free_port()
    try:
        cluster.start(port)
        if fresh:
            create_databases(cluster, port)
        yield _local(settings, cluster, port)
    finally:
        cluster.stop()


def _local(settings: Settings, cluster: Cluster, port: int) -> Place:
    return Place("stack", {name: cluster.url(name, port) for name in DATABASES}, settings.home, settings.lake)


def _refuse_foreign(settings: Settings, kept: Mapping[str, str]) -> None:
    own = kept.get(f"{PREFIX}DATABASE_URL")
    if settings.database_url is not None and settings.database_url.get_secret_value() != own:
        raise StackError(
            f"{PREFIX}DATABASE_URL names another warehouse than the local stack's, which this command does not back "
            "up; use pg_dump there."
        )


def in_containers(settings: Settings, url: Callable[[str], str]) -> Place:
    """That of the containers; `url` gives a database's URL as whoever made it."""
    return Place("containers", {name: url(name) for name in DATABASES}, settings.home, settings.lake)
