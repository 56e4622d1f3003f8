"""The exchange's files as rows of text: out of their archive, field by field, with what is wrong about each row.

A file is what it holds, whatever its name says: a zip of one file or the file itself, with or without a byte order
mark, with either end of line. Nothing is lost: a row that cannot be read has its fault.
"""

from __future__ import annotations

import csv
import io
import re
import zipfile
import zlib
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from pipelines.contract import FAULT

LINE, TEXT = "line", "text"
_COUNT, _REST = "count", "rest"
_DAYS = ("%d-%b-%Y", "%Y-%m-%d", "%d/%m/%Y", "%Y%m%d", "%d-%m-%Y", "%d-%b-%y")
_BARE = {LINE: pl.UInt32(), TEXT: pl.String(), FAULT: pl.String()}


@dataclass(frozen=True, slots=True)
class Table:
    """The rows of one file.

    `names` are those of the header, without nameless ones at its end; none where there is no header. `rows` has the
    text of each field under its place (`0`, `1`, ...), and `line`, `text` (the line as it stands) and `fault`.
    """

    where: str
    names: list[str]
    rows: pl.DataFrame

    def field(self, name: str) -> pl.Expr:
        """The values of a field, without blanks around them; null where there is nothing or a dash."""
        value = pl.col(str(self.names.index(name))).str.strip_chars()
        return pl.when(~value.is_in(["", "-"])).then(value)

    def days(self, name: str) -> pl.Expr:
        """The days of a field as YYYY-MM-DD; text that is no day stays as it is."""
        texts = self.rows.select(self.field(name).drop_nulls().unique()).to_series().to_list()
        return self.field(name).replace({text: _iso_day(text) for text in texts})


def _iso_day(text: str) -> str:
    for form in _DAYS:
        with suppress(ValueError):
            return str(datetime.strptime(text, form).date())  # noqa: DTZ007 - a day, not a moment
    return text


def unusable(where: str, why: str, text: str = "") -> Table:
    """A file of which nothing more can be told, as one row."""
    return Table(where, [], pl.DataFrame({LINE: [None], TEXT: [text[:500]], FAULT: [f"{where} {why}"]}, _BARE))


def read_table(body: bytes, where: str) -> Table:
    """The table of comma-separated values that a file holds; `where` is the file's name."""
    try:
        text = decoded(unpacked(body))
    except zipfile.BadZipFile as error:
        return unusable(where, str(error))
    if not text.strip():
        return unusable(where, "is empty")
    if text.lstrip().startswith("<"):
        return unusable(where, "is a web page, not a table", text)
    header, rows = _quoted(text) if '"' in text else _plain(text)
    names = _named(header)
    if _says_nothing(header) or (rows.height == 1 and _says_nothing(str(rows[0, TEXT]).split(","))):
        return Table(where, [], pl.DataFrame(schema=_BARE))
    if rows.is_empty() and not text.endswith("\n"):
        return unusable(where, "is cut off in its first line", text)
    return Table(where, names, _with_faults(rows, names, header, where, is_ended=text.endswith("\n")))


def header_of(body: bytes) -> list[str]:
    """The names in the first line of a file; none where it cannot be opened."""
    try:
        start = decoded(unpacked(body)[:4096]).strip()
    except zipfile.BadZipFile:
        return []
    return [name.strip(' "') for name in start.partition("\n")[0].split(",")]


def unpacked(body: bytes) -> bytes:
    """The one file of a zip, or the bytes themselves where they are no zip.

    Raises:
        BadZipFile: the archive is broken, or holds another number of files.
    """
    if not body.startswith(b"PK"):
        return body
    try:
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            names = members(archive)
            if len(names) != 1:
                raise zipfile.BadZipFile(f"is an archive of {len(names)} files, not of one")
            return archive.read(names[0])
    # What the library raises of archives it cannot read: broken, cut, of a compression it lacks, or with a password
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        said = str(error)
        raise zipfile.BadZipFile(said if said.startswith("is ") else f"is a cut or broken archive: {said}") from error


def members(archive: zipfile.ZipFile) -> list[str]:
    """Names of the files in an archive, without what a Mac adds."""
    return [name for name in archive.namelist() if not name.endswith("/") and not name.startswith("__MACOSX/")]


def decoded(content: bytes) -> str:
    """The text of a file, each line ended by a newline alone."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("cp1252", "replace")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _named(header: list[str]) -> list[str]:
    names = [name.strip() for name in header]
    while names and not names[-1]:
        names.pop()
    return names


def _says_nothing(fields: list[str]) -> bool:
    """Whether it is the exchange's answer for a day without anything: `NO RECORDS`, and commas."""
    return fields[0].strip().upper() == "NO RECORDS" and not any(field.strip() for field in fields[1:])


def _plain(text: str) -> tuple[list[str], pl.DataFrame]:
    lines = pl.DataFrame({TEXT: text.split("\n")}).with_row_index(LINE, 1)
    lines = lines.filter(pl.col(TEXT).str.strip_chars() != "")
    header = str(lines[0, TEXT]).split(",")
    width = len(_named(header))
    fields = pl.col(TEXT).str.splitn(",", width + 1).struct.rename_fields([*map(str, range(width)), _REST])
    count = pl.col(TEXT).str.count_matches(",", literal=True) + 1
    return header, lines[1:].with_columns(count.alias(_COUNT), fields.alias("fields")).unnest("fields")


def _quoted(text: str) -> tuple[list[str], pl.DataFrame]:
    lines, records, before = text.split("\n"), [], 0
    reader = csv.reader(io.StringIO(text), skipinitialspace=True)
    for fields in reader:
        if any(field.strip() for field in fields):
            records.append((before + 1, "\n".join(lines[before : reader.line_num]), fields))
        before = reader.line_num
    header = records[0][2]
    width = len(_named(header))
    rows = [
        (line, raw, len(fields), *(fields + [None] * width)[:width], ",".join(fields[width:]))
        for line, raw, fields in records[1:]
    ]
    schema = {LINE: pl.UInt32, TEXT: pl.String, _COUNT: pl.UInt32}
    return header, pl.DataFrame(rows, schema | dict.fromkeys([*map(str, range(width)), _REST], pl.String), orient="row")


def _with_faults(
    rows: pl.DataFrame, names: list[str], header: list[str], where: str, *, is_ended: bool
) -> pl.DataFrame:
    if rows.is_empty():
        return rows.with_columns(pl.lit(None, pl.String).alias(FAULT))
    count, last = pl.col(_COUNT), rows.row(-1, named=True)
    if last[_COUNT] < len(names):
        return _cut(rows, f"{where} is cut off in line {last[LINE]}, after {last[_COUNT]} of {len(names)} fields")
    if not is_ended and not _is_whole(rows, header):
        return _cut(rows, f"{where} is cut off in line {last[LINE]}, which has no end")
    too_many = (count > len(names)) & (pl.col(_REST).str.strip_chars(", \t") != "")
    said = pl.format("line {} of {} has {} fields, not {}", LINE, pl.lit(where), count, pl.lit(len(names)))
    return rows.with_columns(pl.when((count < len(names)) | too_many).then(said).alias(FAULT))


def _cut(rows: pl.DataFrame, why: str) -> pl.DataFrame:
    return rows.with_columns(pl.lit(f"{why}; none of its rows is taken").alias(FAULT))


def _is_whole(rows: pl.DataFrame, header: list[str]) -> bool:
    """Whether a last line without its end is as long as the others: they all end alike, and so does it."""
    *shapes, last = rows.get_column(TEXT).str.split(",").list.last().map_elements(_shape, pl.String)
    if not shapes:
        return bool(rows[0, _COUNT] == len(header)) and last in ("0", "-")
    is_alike = last in shapes and len({*shapes} - {"-"}) <= 1
    return bool(rows[-1, _COUNT] == rows[-2, _COUNT]) and is_alike


def _shape(text: str) -> str:
    """What tells whether a value is whole: its decimals, or its length; nothing and a dash are whole."""
    value = text.strip()
    if value == "-":
        return value
    return f".{len(value.rpartition('.')[2])}" if re.fullmatch(r"-?\d+\.\d*", value) else str(len(value))
