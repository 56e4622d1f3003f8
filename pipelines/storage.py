"""Where the lake's bytes are: a folder, or a prefix in an object store. The same code for both.

deltalake, polars and obstore all reach object stores through Rust's `object_store` and take the same options.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache, wraps
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Concatenate, ParamSpec, Self, TypeVar

from pipelines.errors import SettingsError, StorageError

if TYPE_CHECKING:
    from obstore.store import ObjectStore

P = ParamSpec("P")
T = TypeVar("T")
SCHEMES = ("s3", "gs", "az", "abfss")
_OF_THE_CLIENT = {"allow_http", "allow_invalid_certificates", "connect_timeout", "proxy_url", "timeout"}
"""Options that obstore takes apart from the store's own; the other two libraries take all in one."""
_PIECE = 8 * 1024 * 1024
_OURS = {"max_retries": "5", "retry_timeout": "60s"}
"""The libraries would try for three minutes; a task is tried again by Airflow anyway."""


@dataclass(frozen=True, slots=True)
class Stored:
    """One object: its name below the store it was listed from, bytes, and when it was last written."""

    name: str
    bytes: int
    modified: datetime


@dataclass(frozen=True, slots=True)
class Store:
    """A folder (`url` is its absolute path) or a prefix in an object store, such as s3://bucket/prefix."""

    url: str
    options: Mapping[str, str] = field(default_factory=dict, repr=False, hash=False)
    """Endpoint, region, keys and the like, by the lower-case names of `object_store`. Never shown."""

    @classmethod
    def at(cls, place: str | os.PathLike[str], options: Mapping[str, str] | None = None) -> Self:
        """The store at a folder or URL.

        Raises:
            SettingsError: it is a URL of a kind that the lake cannot live on, or has characters that cannot be used.
        """
        text = os.fspath(place)
        scheme, found, rest = text.partition("://")
        if found and (scheme not in SCHEMES or not rest.strip("/")):
            raise SettingsError(
                f"{text!r} is no place for a lake; name a folder, or a bucket and prefix such as s3://bucket/lake."
            )
        odd = re.search(r"[^A-Za-z0-9._~=/-]", rest) if found else re.search(r"[%#?\[\]]", text)
        if odd:  # deltalake reads or writes elsewhere, or ends the process
            raise SettingsError(f"{text!r} is no place for a lake because of the character {odd[0]!r}; rename it.")
        if not found:
            return cls(os.path.abspath(os.path.expanduser(text)))  # noqa: PTH100, PTH111 - pathlib keeps `..`
        return cls(f"{scheme}://{rest.rstrip('/')}", dict(options or {}))

    def __str__(self) -> str:
        return self.url

    def __truediv__(self, name: str) -> Store:
        return Store(f"{self.url.rstrip('/')}/{name}", self.options)

    @property
    def is_folder(self) -> bool:
        """Whether it is on this machine."""
        return "://" not in self.url

    @property
    def delta_options(self) -> dict[str, str] | None:
        """The `storage_options` of deltalake; a folder needs none."""
        return None if self.is_folder else _OURS | dict(self.options)

    @property
    def polars_options(self) -> dict[str, str] | None:
        """The `storage_options` of polars; a folder needs none."""
        return None if self.is_folder else dict(self.options)

    def read(self, name: str) -> bytes:
        """The bytes of an object.

        Raises:
            StorageError: there is none, or the store cannot be used.
        """
        client, prefix = self._client()
        with self.guard():
            return bytes(client.get(prefix + name).bytes())

    def sha256(self, name: str) -> str:
        """The SHA-256 of an object, read in pieces.

        Raises:
            StorageError: there is none, or the store cannot be used.
        """
        client, prefix = self._client()
        found = hashlib.sha256()
        with self.guard():
            for piece in client.get(prefix + name).stream(_PIECE):
                found.update(piece)
        return found.hexdigest()

    def write(self, name: str, body: bytes) -> None:
        """Writes an object whole or not at all; one that is there is replaced."""
        client, prefix = self._client()
        with self.guard():
            client.put(prefix + name, body)

    def create(self, name: str, body: bytes) -> bool:
        """Writes an object where there is none of that name; False where there is one, whosoever was first."""
        from obstore.exceptions import AlreadyExistsError

        client, prefix = self._client()
        with self.guard(), suppress(AlreadyExistsError):
            client.put(prefix + name, body, mode="create")
            return True
        return False

    def write_file(self, name: str, path: Path) -> None:
        """Writes a file of this machine as an object, in pieces; whole or not at all."""
        client, prefix = self._client()
        with self.guard(), path.open("rb") as file:
            client.put(prefix + name, file)

    def open(self, name: str) -> IO[bytes]:
        """An object to be read from wherever in it, a piece at a time.

        Raises:
            StorageError: there is none, or the store cannot be used.
        """
        client, prefix = self._client()
        with self.guard():
            if self.is_folder:
                return Path(self.url, name).open("rb")
            return io.BufferedReader(_Readable(client, prefix + name), _PIECE)

    def copy_to(self, name: str, path: Path) -> bool:
        """Copies an object to a file of this machine, in pieces; False where there is none."""
        client, prefix = self._client()
        with self.guard():
            try:
                found = client.get(prefix + name)
            except FileNotFoundError as error:
                if "NoSuchBucket" in str(error):
                    raise
                return False
            with path.open("wb") as file:
                for piece in found.stream(_PIECE):
                    file.write(piece)
        return True

    def exists(self, name: str) -> bool:
        """Whether there is an object of that name."""
        client, prefix = self._client()
        with self.guard():
            try:
                client.head(prefix + name)
            except FileNotFoundError as error:
                if "NoSuchBucket" in str(error):
                    raise
                return False
        return True

    def size(self, name: str) -> int:
        """Bytes of an object."""
        client, prefix = self._client()
        with self.guard():
            return client.head(prefix + name)["size"]

    def list(self) -> Iterator[Stored]:
        """Every object below here, by name; of what does not exist, nothing."""
        client, prefix = self._client()
        with self.guard():
            found = [item for chunk in client.list(prefix) for item in chunk]
        for item in sorted(found, key=lambda item: item["path"]):
            yield Stored(item["path"].removeprefix(prefix), item["size"], item["last_modified"])

    def unfinished(self) -> Iterator[Stored]:
        """Files that a write which was cut off left in a folder; neither `list` nor a reader sees them."""
        for path in sorted(Path(self.url).rglob("*#*")) if self.is_folder else ():
            if re.search(r"#\d+$", path.name) and path.is_file():
                modified = datetime.fromtimestamp(path.stat().st_mtime, UTC)
                yield Stored(path.relative_to(self.url).as_posix(), path.stat().st_size, modified)

    def delete(self, names: Iterable[str]) -> None:
        """Deletes the objects of those names; one that is not there is no error."""
        client, prefix = self._client()
        paths = [prefix + name for name in names]
        with self.guard():
            if self.url.startswith("s3://"):  # a thousand in one request, and S3 minds no name that is not there
                client.delete(paths)
                return
            for path in paths:
                try:
                    client.delete(path)
                except FileNotFoundError as error:
                    if "NoSuchBucket" in str(error):
                        raise

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Makes one sentence of what obstore, deltalake or polars say when the store cannot be used.

        Raises:
            StorageError: it cannot; a `DeltaError` about the table, such as a conflict, passes as it is.
        """
        try:
            yield
        except Exception as error:
            from pipelines.storage_errors import explain

            sentence = explain(self.url, error)
            if sentence is None:
                raise
            # What the libraries say may show the request with its keys
            raise StorageError(sentence) from None

    def _client(self) -> tuple[ObjectStore, str]:
        """The client of this bucket (or of the file system), and what goes before the names of objects in it."""
        if self.is_folder:
            return _client("", ()), f"{self.url.strip('/')}/"
        scheme, _, rest = self.url.partition("://")
        bucket, _, prefix = rest.partition("/")
        return _client(f"{scheme}://{bucket}", tuple(sorted(self.options.items()))), f"{prefix}/" if prefix else ""


class _Readable(io.RawIOBase):
    """An object of a store as a file: what reads Parquet asks for `seek` and `read`."""

    def __init__(self, client: ObjectStore, path: str) -> None:
        self._client, self._path = client, path
        self._size, self._at = int(client.head(path)["size"]), 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def readinto(self, buffer: Any) -> int:
        end = min(self._at + len(buffer), self._size)
        if end <= self._at:
            return 0
        body = bytes(self._client.get_range(self._path, start=self._at, end=end))
        buffer[: len(body)] = body
        self._at += len(body)
        return len(body)


@cache
def _client(bucket: str, options: tuple[tuple[str, str], ...]) -> ObjectStore:
    from obstore.exceptions import BaseError
    from obstore.store import LocalStore, from_url

    if not bucket:
        return LocalStore()
    config: dict[str, Any] = {}
    of_client: dict[str, Any] = {}
    for name, value in options:
        plain = name.removeprefix("aws_")
        (of_client if plain in _OF_THE_CLIENT else config)[plain if plain in _OF_THE_CLIENT else name] = value
    connect: Any = from_url  # its types want to know the kind of store beforehand
    retries = {"max_retries": int(_OURS["max_retries"]), "retry_timeout": timedelta(seconds=60)}
    try:
        client: ObjectStore = connect(bucket, config=config, client_options=of_client, retry_config=retries)
    except BaseError as error:
        said = str(error).splitlines()[0].rstrip(".")
        raise SettingsError(f"HEADWATER_LAKE_OPTIONS__* do not fit the lake at {bucket}: {said}.") from None
    return client


def guarded(function: Callable[Concatenate[Store, P], T]) -> Callable[Concatenate[Store, P], T]:
    """For functions whose first argument is the lake: what its store refuses becomes one sentence."""

    @wraps(function)
    def call(lake: Store, /, *args: P.args, **kwargs: P.kwargs) -> T:
        with lake.guard():
            return function(lake, *args, **kwargs)

    return call
