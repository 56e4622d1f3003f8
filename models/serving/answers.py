"""From the outputs of a model to what the client reads and the request log keeps."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cached_property
from typing import Any

import msgspec

from models.serving.card import ServingCard
from models.serving.limits import MAX_ITEMS
from models.serving.spool import Answered

CHAMPION, CHALLENGER = "champion", "challenger"
ONLINE, SHADOW = "online", "shadow"
_EPOCH = date(1970, 1, 1).toordinal()
_DAY_S = 86_400
# NaN and infinity, which JSON lacks, become null; numbers of Postgres that are decimal stay numbers
_encoder = msgspec.json.Encoder(decimal_format="number")
encode = _encoder.encode
_random = random.SystemRandom().randrange(2**64)
_bits = random.Random(_random).getrandbits  # noqa: S311 - an id must not repeat; nobody is kept from guessing it
_VARIANT = {f"{number:x}": "89ab"[number % 4] for number in range(16)}
_DIGITS = 19
"""Random digits of an id in base 16; of one of them two bits."""


def new_id() -> str:
    """A UUID of version 7 (RFC 9562): ids that rise with time fill the pages of an index one after the other."""
    return new_ids(1)[0]


def new_ids(count: int) -> list[str]:
    """So many of them, of one moment."""
    moment = f"{time.time_ns() // 1_000_000:012x}"
    head, digits = f"{moment[:8]}-{moment[8:]}-7", f"{_bits(4 * _DIGITS * count):0{_DIGITS * count}x}"
    parts = [digits[at : at + _DIGITS] for at in range(0, len(digits), _DIGITS)]
    return [f"{head}{part[:3]}-{_VARIANT[part[3]]}{part[4:7]}-{part[7:]}" for part in parts]


def encode_each(items: Sequence[Any]) -> list[bytes]:
    """Each of them as JSON; a thousand in one call, which costs less than one for each.

    No more, because other threads, the event loop's among them, wait while a call lasts.
    """
    if len(items) > MAX_ITEMS:
        parts = (items[at : at + MAX_ITEMS] for at in range(0, len(items), MAX_ITEMS))
        return [line for part in parts for line in encode_each(part)]
    return _encoder.encode_lines(items).split(b"\n")[:-1]


def age_hours(day: date, now_s: float) -> float:
    """Hours since the end of that day, in UTC; 0 before it, as after a session of a market further east."""
    return max(0.0, round((now_s - (day.toordinal() - _EPOCH + 1) * _DAY_S) / 3600, 2))


@dataclass
class Answer:
    """The predictions of one request: lists of one length, an item a row.

    `keys` are entity and day where features were looked up. `outputs` are in the order of the card's `answer_names`.
    """

    card: ServingCard
    keys: Sequence[tuple[Any, date]] | None
    rows: Sequence[dict[str, Any]]
    outputs: Sequence[tuple[Any, ...]]
    versions: Sequence[int]
    arms: Sequence[str]
    ids: Sequence[str]
    now_s: float

    def body(self) -> bytes:
        """What the client reads, as JSON: an object a row in `predictions`."""
        heads = encode_each(self._heads())
        rows = [head[:-1] + b"," + output[1:] for head, output in zip(heads, self.json, strict=True)]
        return b'{"predictions":[' + b",".join(rows) + b"]}"

    @cached_property
    def json(self) -> list[bytes]:
        """The outputs of each row as a JSON object."""
        names = self.card.answer_names
        return encode_each([dict(zip(names, output, strict=True)) for output in self.outputs])

    def _heads(self) -> list[dict[str, Any]]:
        """Of each row, what stands before its outputs."""
        if self.keys is None:
            return [{"prediction_id": id_, "model_version": version}
                    for id_, version in zip(self.ids, self.versions, strict=True)]  # fmt: skip
        entity, day = self.card.entity, self.card.day
        return [
            {
                "prediction_id": id_,
                "model_version": version,
                entity: key[0],
                day: key[1],
                "features_age_hours": age_hours(key[1], self.now_s),
            }
            for id_, version, key in zip(self.ids, self.versions, self.keys, strict=True)
        ]

    def logged(
        self, request_id: str, began_s: float, channel: str = ONLINE, error: Exception | None = None
    ) -> Answered:
        """What the request log keeps; `began_s` is the monotonic clock when the request came.

        With an `error` it is rows that the model could not answer.
        """
        outputs = self.json
        if error is not None:
            outputs = [encode({"error": f"{type(error).__name__}: {error}"})] * len(self.rows)
        nobody: list[tuple[Any, Any]] = [(None, None)] * len(self.rows)
        keys = nobody if self.keys is None else self.keys
        return Answered(
            request_id=request_id,
            use_case=self.card.use_case,
            channel=channel,
            predicted_at=datetime.fromtimestamp(self.now_s, UTC).isoformat(timespec="microseconds"),
            latency_ms=round((time.perf_counter() - began_s) * 1000, 3),
            rows=[
                (id_, None if entity is None else str(entity), None if day is None else day.isoformat(), version, arm)
                for id_, (entity, day), version, arm in zip(self.ids, keys, self.versions, self.arms, strict=True)
            ],
            inputs=encode_each(self.rows),
            outputs=outputs,
        )


def answer_of(
    card: ServingCard,
    keys: Sequence[tuple[Any, date]] | None,
    rows: Sequence[dict[str, Any]],
    outputs: Sequence[tuple[Any, ...]],
    arms: Sequence[str] | None = None,
    versions: Sequence[int] | None = None,
) -> Answer:
    """An answer as of now, with new ids; all by the card's version, if none are named."""
    count = len(rows)
    return Answer(
        card=card,
        keys=keys,
        rows=rows,
        outputs=outputs,
        versions=versions or [card.version] * count,
        arms=arms or [CHAMPION] * count,
        ids=new_ids(count),
        now_s=time.time(),
    )
