"""Samples that treat the rows to train on and the hold-out apart: rare events kept, or rows made one by their mean."""

from __future__ import annotations

from datetime import date

from pipelines import database
from pipelines.errors import SettingsError
from pipelines.spec import UseCase

WEIGHT = "sample_weight"
"""Column of a sample: how many rows of the feature table a row stands for. No feature."""
_NUMBERS = {"smallint", "integer", "bigint", "real", "double precision", "numeric"}


def parts(use_case: UseCase) -> bool:
    """Whether the use case's sample depends on the cut-off."""
    return bool(use_case.sample_keeps or use_case.sample_means)


def recent(use_case: UseCase, where: str) -> str:
    """A condition that holds for the rows of the last `sample_days` of those that meet another one."""
    if use_case.sample_days is None:
        return where
    newest = f"select max({use_case.day_column}) from {use_case.feature_table} where {where}"
    return f"{where} and {use_case.day_column} > ({newest}) - {use_case.sample_days}"


def parted(url: str, use_case: UseCase, where: str, cutoff: date) -> str:
    """SQL of a sample, with the columns of the feature table and the `WEIGHT`.

    Of the rows before the cut-off each one where `sample_keeps` holds, and of the others those with the lowest hashes:
    as many as `sample_rows` leaves room for, though no fewer than are kept; or, with `sample_means`, their means. Of
    the rows from the cut-off on, `sample_rows` by the hash, each for itself.

    Args:
        url: the warehouse's.
        use_case: whose sample.
        where: SQL that holds for the rows that a training may use.
        cutoff: first day of the hold-out.

    Raises:
        SettingsError: a column that the spec names is not in the feature table.
    """
    types = _types(url, use_case)
    if unknown := {*use_case.sample_means, *filter(None, [use_case.sample_keeps])} - set(types):
        raise SettingsError(
            f"The spec of {use_case.slug} samples by {', '.join(sorted(unknown))}, which {use_case.feature_table} has "
            "not; name a column that it has."
        )
    keeps = f"coalesce({use_case.sample_keeps}, false)" if use_case.sample_keeps else "false"
    trained = f"{use_case.day_column} < date '{cutoff}'"
    if use_case.sample_means:
        rest = f"{where} and {trained} and not {keeps}"
        return (
            f"{_drawn(use_case, types, f'{where} and not ({trained} and not {keeps})', trained, keeps)}\n"
            f"union all\n{_means(use_case, types, rest)}"
        )
    return _drawn(use_case, types, where, trained, keeps)


def _types(url: str, use_case: UseCase) -> dict[str, str]:
    """The columns of the feature table and their types, in their order."""
    schema, _, table = use_case.feature_table.partition(".")
    rows = database.query(
        url,
        "select column_name, data_type from information_schema.columns where table_schema = %s and table_name = %s"
        " order by ordinal_position",
        (schema, table),
    )
    return {str(row["column_name"]): str(row["data_type"]) for row in rows}


def _drawn(use_case: UseCase, types: dict[str, str], where: str, trained: str, keeps: str) -> str:
    """Each row by itself: all that are kept, and by their hash as many of the others as there is room for."""
    key = f"{use_case.entity}::text || ' ' || {use_case.day_column}::text"
    order = f"hashtextextended({key}, {use_case.sample_seed}), {use_case.day_column}, {use_case.entity}"
    room = "'infinity'::float8" if use_case.sample_rows is None else f"{use_case.sample_rows}::float8"
    return f"""select {", ".join(types)}, case when is_trained and not is_kept then greatest(1, total / most) else 1 end
    as {WEIGHT}
from (
    select *, case when is_trained then greatest({room} - kept, kept) else {room} end as most
    from (
        select *, {trained} as is_trained, {keeps} as is_kept,
            count(*) filter (where {trained} and {keeps}) over () as kept,
            count(*) over part as total, row_number() over (part order by {order}) as place
        from {use_case.feature_table} where {where}
        window part as (partition by {trained}, {trained} and {keeps})
    ) as numbered
) as bounded
where place <= most or (is_trained and is_kept)"""


def _means(use_case: UseCase, types: dict[str, str], where: str) -> str:
    """One row for those of a day that agree in the columns `sample_means`, and in a target that is a truth value."""
    keys = [use_case.day_column, *use_case.sample_means]
    if types[use_case.target] == "boolean":
        keys.append(use_case.target)
    columns = ", ".join(name if name in keys else _mean(name, types[name], use_case.entity) for name in types)
    grouped = ", ".join(dict.fromkeys(keys))
    counted = f"count(*)::float8 as {WEIGHT}"
    return f"select {columns}, {counted} from {use_case.feature_table} where {where} group by {grouped}"


def _mean(name: str, kind: str, entity: str) -> str:
    if name == entity:
        return f"min({name}) as {name}"
    if kind in _NUMBERS:
        return f"avg({name})::{kind} as {name}"
    return f"mode() within group (order by {name}) as {name}"
