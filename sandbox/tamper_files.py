"""What a misbehaving upstream makes of a body as it goes over the wire: JSON, CSV, a zipped CSV, or Parquet."""

from __future__ import annotations

import io
import json
import zipfile

from sandbox.tamper import CHANGES, tamper
from sandbox.tamper_parquet import spoil_parquet

SPOILS = (*CHANGES, "wrong_unit", "truncated")
_CLOSING_PRICES = ("CLOSE", "ClsPric", "CLOSE_PRICE")


def spoil(body: bytes, kind: str, field: str | None, rename_to: str) -> bytes:
    """The body after a change of `SPOILS`, zipped again where it was.

    `field` is a column of a CSV, by default the closing price; a CSV without it, and its units, stay as they are.
    `truncated` ends the text in the middle of a row, under a content length that is right.
    """
    if body.startswith(b"PAR1"):
        return spoil_parquet(body, kind, field, rename_to)
    if body.startswith(b"PK"):
        return _in_archive(body, kind, field, rename_to)
    if kind == "truncated":
        return body[: max(body.rfind(b",", 0, len(body) // 2), 0)]
    if body[:1] in (b"{", b"["):
        return json.dumps(tamper(json.loads(body), kind, field, rename_to)).encode()
    return _csv(body.decode(), kind, field, rename_to).encode()


def _in_archive(body: bytes, kind: str, field: str | None, rename_to: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(body)) as old, zipfile.ZipFile(buffer, "w") as new:
        for entry in old.infolist():
            new.writestr(entry, spoil(old.read(entry), kind, field, rename_to))
    return buffer.getvalue()


def _csv(text: str, kind: str, field: str | None, rename_to: str) -> str:
    """Cells keep the blanks around them, as some files have them."""
    header, *lines = text.splitlines()
    names = header.split(",")
    wanted = (field,) if field else _CLOSING_PRICES
    column = next((name for name in names if name.strip() in wanted), None)
    if column is None or kind not in CHANGES:
        return text
    rows = [dict(zip(names, line.split(","), strict=False)) for line in lines]
    if kind == "renamed_field":
        header = ",".join(name.replace(name.strip(), rename_to) if name == column else name for name in names)
    else:
        CHANGES[kind](rows, column, rename_to)
    return "\n".join((header, *(",".join(row.values()) for row in rows), ""))
