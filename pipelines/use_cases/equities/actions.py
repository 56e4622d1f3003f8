"""Corporate actions in the forms that the exchange tells them in, read into the columns of `actions`.

    bundle       Bc*.csv in the daily PR*.zip
    download     CF-CA-equities-*.csv of the website, in two generations
    website      its answers, as JSON
    multipliers  a list of what shares were multiplied by, which does not say why; of the series EQ

An action without an ex-date has no day, which the contract does not accept.
"""

from __future__ import annotations

import json

import polars as pl

from pipelines.contract import FAULT, ROW
from pipelines.errors import ContractError
from pipelines.use_cases.equities.layouts import Layout, Schema, finished, layout_of, read, refused
from pipelines.use_cases.equities.purposes import meaning_of
from pipelines.use_cases.equities.spec import ACTIONS
from pipelines.use_cases.equities.tables import LINE, TEXT, Table, read_table

SCHEMA: Schema = dict.fromkeys([*(column.name for column in ACTIONS.columns), FAULT, ROW], pl.String())
MULTIPLIERS = Layout("multipliers", {"symbol": "Symbol", "day": "Date", "split_factor": "Multiplier"})
_BUNDLE = {"symbol": "SYMBOL", "series": "SERIES", "company": "SECURITY", "day": "EX_DT", "purpose": "PURPOSE"}
_DOWNLOAD = {**_BUNDLE, "company": "COMPANY NAME", "day": "EX-DATE"}
_WEBSITE = {
    "symbol": "symbol", "series": "series", "company": "comp", "isin": "isin", "day": "exDate", "purpose": "subject",
}  # fmt: skip
LAYOUTS = (
    Layout("bundle", _BUNDLE, ("RECORD_DT", "BC_STRT_DT", "BC_END_DT", "ND_STRT_DT", "ND_END_DT")),
    Layout("download", _DOWNLOAD, ("FACE VALUE", "RECORD DATE", "BOOK CLOSURE START DATE", "BOOK CLOSURE END DATE")),
    Layout("old download", {**_DOWNLOAD, "company": "COMPANY"}, ("INDUSTRY", "RECORD DATE")),
    Layout(
        "website",
        _WEBSITE,
        ("ind", "faceVal", "recDate", "bcStartDate", "bcEndDate", "ndStartDate", "ndEndDate", "caBroadcastDate"),
        optional=("isin",),
    ),
)


def parse(body: bytes, where: str, *, is_json: bool) -> pl.DataFrame:
    """The rows of one file or answer (`SCHEMA`).

    Raises:
        ContractError: a field is missing, or it is neither a table nor a JSON list of actions.
    """
    table = _from_json(body, where) if is_json else read_table(body, where)
    layout = layout_of(table.names, (*LAYOUTS, MULTIPLIERS))
    if layout is None:
        return refused(table, f"{where} has the header of no known list of actions", SCHEMA)
    table, rows = read(table, layout, SCHEMA)
    rows = rows.with_columns(table.days(layout.fields["day"]).alias("day"))
    if layout is MULTIPLIERS:
        rows = rows.with_columns(
            pl.lit("EQ").alias("series"), pl.lit("multiplier").alias("purpose"), pl.lit("multiplier").alias("kind")
        )
    else:
        rows = _with_meaning(rows)
    return finished(rows, where, SCHEMA)


def _with_meaning(rows: pl.DataFrame) -> pl.DataFrame:
    rows = rows.with_columns(pl.col("purpose").str.replace_all(r"\s+", " "))
    said = rows.get_column("purpose").drop_nulls().unique().sort()
    meanings = [meaning_of(text) for text in said]
    told = pl.DataFrame(
        {
            "purpose": said,
            "kind": [meaning.kind for meaning in meanings],
            "split_factor": [_text(meaning.split_factor) for meaning in meanings],
            "bonus_factor": [_text(meaning.bonus_factor) for meaning in meanings],
        },
        {name: SCHEMA[name] for name in ("purpose", "kind", "split_factor", "bonus_factor")},
    )
    return rows.drop("kind", "split_factor", "bonus_factor").join(told, on="purpose", how="left", maintain_order="left")


def _from_json(body: bytes, where: str) -> Table:
    try:
        said = json.loads(body)
    except ValueError as error:
        raise ContractError(f"{where} is not JSON ({error}). Nothing was loaded.") from error
    told = said.get("data") if isinstance(said, dict) else said
    if not isinstance(told, list) or not all(isinstance(item, dict) for item in told):
        raise ContractError(f"{where} is not a list of corporate actions, but {str(said)[:100]}. Nothing was loaded.")
    names = list(dict.fromkeys(name for item in told for name in item))
    places = [*map(str, range(len(names)))]
    rows = [[at, json.dumps(item), None, *(_text(item.get(name)) for name in names)] for at, item in enumerate(told, 1)]
    schema = {LINE: pl.UInt32(), TEXT: pl.String(), FAULT: pl.String(), **dict.fromkeys(places, pl.String())}
    return Table(where, names, pl.DataFrame(rows, schema, orient="row"))


def _text(value: object) -> str | None:
    return None if value is None else str(value)
