"""API keys as the service checks them: in memory, read from `serving.api_keys` once a second.

A key is `hw_<id>_<secret>`. Of the secret, 32 random bytes, only the SHA-256 is stored. A password's slow hash would
add nothing: it is there to make guessing dear, and 2^256 secrets cannot be guessed at any price.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from dataclasses import dataclass
from typing import Any

import psycopg2

from pipelines import migrations
from pipelines.errors import DatabaseError

PREFIX = "hw"
USED_S = 60.0
"""How exactly `last_used_at` is kept."""
_READ = """
select key_id, secret_sha256, name, use_cases, requests_per_s, rows_per_s
from serving.api_keys where revoked_at is null"""
_NOBODY = hashlib.sha256(b"").hexdigest()


@dataclass(frozen=True, slots=True)
class Key:
    """A key that is not revoked; None allows every use case, or any rate."""

    key_id: str
    secret_sha256: str
    name: str
    use_cases: frozenset[str] | None = None
    requests_per_s: float | None = None
    rows_per_s: float | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is not answered: the status of HTTP, a sentence, and after how long it may be sent again."""

    status: int
    error: str
    retry_after_s: float | None = None


ANYBODY = Key("", "", "anybody")
"""Who sends no key, where none is required."""


class Bucket:
    """A token bucket (RFC 2697's, with one rate): full at first, it holds the tokens of a second.

    What is larger than the bucket passes when it is full, and the debt is waited for.
    """

    def __init__(self, rate: float, now: float) -> None:
        self.rate = rate
        self._most = max(rate, 1.0)
        self._tokens, self._at = self._most, now

    def wait(self, tokens: float, now: float) -> float:
        """Seconds until so many can be taken; 0 where that is now."""
        self._tokens = min(self._most, self._tokens + (now - self._at) * self.rate)
        self._at = now
        missing = min(tokens, self._most) - self._tokens
        return missing / self.rate if missing > 1e-9 else 0.0

    def take(self, tokens: float) -> None:
        """Takes them, after `wait` has said 0."""
        self._tokens -= tokens


class KeyRing:
    """The keys that there are. `admit` and `charge` are called from one thread, `refresh` may be from another.

    Rates are of the whole service: each of its `workers` allows its share of them. So one connection, which stays with
    one worker, gets that share.
    """

    def __init__(self, *, required: bool, workers: int = 1) -> None:
        self._required, self._workers = required, workers
        self._keys: dict[str, Key] | None = None
        self._buckets: dict[str, tuple[Key, Bucket | None, Bucket | None]] = {}
        self._used: set[str] = set()
        self._told: dict[str, float] = {}

    def admit(self, header: str | None, use_case: str) -> Key | Refusal:
        """Whose request it is, or why it is refused; one that is let in counts, whatever comes of it.

        Args:
            header: `Authorization` with or without the word Bearer, or `X-API-Key`; None where neither was sent. A key
                of ours that is sent counts also where none is required.
            use_case: what is asked of.
        """
        found = self.identify(header, use_case)
        if isinstance(found, Refusal) or found is ANYBODY:
            return found
        now = time.monotonic()
        found = _take(found, self._buckets_of(found, now)[0], 1, now)
        if isinstance(found, Key):
            self._used.add(found.key_id)
        return found

    def charge(self, key: Key, rows: int) -> Key | Refusal:
        """The key of a request that was let in, whose rows are known once it has been read; or why it is refused.

        Those that pass count.
        """
        if key is ANYBODY:
            return key
        now = time.monotonic()
        return _take(key, self._buckets_of(key, now)[1], rows, now)

    def identify(self, header: str | None, use_case: str) -> Key | Refusal:
        """As `admit`, but how often is not looked at, and nothing counts."""
        sent = _sent(header) if header else ""
        if not self._required and (self._keys is None or not sent.startswith(f"{PREFIX}_")):
            return ANYBODY
        if not sent:
            return Refusal(401, "Send an API key: Authorization: Bearer hw_...")
        if self._keys is None:
            return Refusal(503, "The API keys have not been read yet; send the request again.", 1.0)
        key = self._known(self._keys, sent)
        if key is None:
            return Refusal(401, "There is no such API key, or it was revoked.")
        if key.use_cases is not None and use_case not in key.use_cases:
            return Refusal(403, f"The API key {key.name} is not for {use_case}.")
        return key

    def _known(self, keys: dict[str, Key], sent: str) -> Key | None:
        prefix, _, rest = sent.partition("_")
        key_id, _, secret = rest.partition("_")
        key = keys.get(key_id) if prefix == PREFIX else None
        # Compared also where there is none, and in a time that does not tell how much of it is right
        found = hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()
        is_right = hmac.compare_digest(found, key.secret_sha256 if key is not None else _NOBODY)
        return key if is_right else None

    def _buckets_of(self, key: Key, now: float) -> tuple[Bucket | None, Bucket | None]:
        """Of its requests, and of its rows; None for any rate."""
        known, requests, rows = self._buckets.get(key.key_id, (None, None, None))
        if known != key:
            requests, rows = self._bucket(key.requests_per_s, now), self._bucket(key.rows_per_s, now)
            self._buckets[key.key_id] = (key, requests, rows)
        return requests, rows

    def _bucket(self, rate: float | None, now: float) -> Bucket | None:
        return Bucket(rate / self._workers, now) if rate is not None else None

    def refresh(self, connection: Any) -> None:
        """Reads the keys, and notes which were used; where that fails, the known ones stay.

        Args:
            connection: psycopg2's, in no transaction, that may write.

        Raises:
            DatabaseError: Postgres cannot be reached, or refuses.
        """
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute(_READ)
                keys = {row[0]: _key(row) for row in cursor.fetchall()}
                self._note(cursor)
        except (psycopg2.errors.UndefinedTable, psycopg2.errors.InvalidSchemaName):
            keys = {}
            migrations.ensure(connection)
        except psycopg2.Error as error:
            said = " ".join(str(error).split()).rstrip(".")
            raise DatabaseError(f"The API keys cannot be read, and the known ones stay: {said}.") from error
        self._keys = keys
        for key_id in self._buckets.keys() - keys.keys():
            del self._buckets[key_id]

    def _note(self, cursor: Any) -> None:
        now, used = time.monotonic(), self._used
        due = [key_id for key_id in used if now - self._told.get(key_id, -USED_S) >= USED_S]
        if due:
            cursor.execute("update serving.api_keys set last_used_at = now() where key_id = any(%s)", (due,))
            self._told |= dict.fromkeys(due, now)
            self._used = used - set(due)


def _sent(header: str) -> str:
    """The key in a header; the word before it is read in any case (RFC 9110, 11.1)."""
    scheme, _, rest = header.partition(" ")
    return (rest if scheme.lower() == "bearer" else header).strip()


def _take(key: Key, bucket: Bucket | None, tokens: float, now: float) -> Key | Refusal:
    if bucket is None:
        return key
    wait = bucket.wait(tokens, now)
    if wait > 0:
        return Refusal(429, f"The API key {key.name} sends more than it may; wait {wait:.2f} s.", wait)
    bucket.take(tokens)
    return key


def _key(row: tuple[Any, ...]) -> Key:
    key_id, secret_sha256, name, use_cases, requests_per_s, rows_per_s = row
    allowed = frozenset(use_cases) if use_cases is not None else None
    return Key(key_id, secret_sha256, name, allowed, requests_per_s, rows_per_s)
