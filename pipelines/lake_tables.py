"""The lake's Delta tables: where each is, opening and making them, and what a writer does who comes second."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl
from deltalake import CommitProperties, DeltaTable, Schema, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from tenacity import retry, retry_if_exception, stop_after_attempt, wait_random_exponential

from pipelines.errors import StorageError
from pipelines.spec import Dataset, UseCase
from pipelines.storage import Store


def _came_second(error: BaseException) -> bool:
    """Whether another writer committed since the table was read, or made the table first."""
    made = isinstance(error, DeltaError) and "already exists" in str(error)
    return made or isinstance(error, CommitFailedError)


again_if_second = retry(
    retry=retry_if_exception(_came_second),
    stop=stop_after_attempt(20),
    wait=wait_random_exponential(multiplier=0.05, max=2),
    reraise=True,
)


def alone(table: DeltaTable) -> CommitProperties:
    """Of a commit that is refused where another one with these properties was made since the table was read.

    For writes that name no rows by a predicate: Delta holds them only against the files that they take out, and of two
    that found nothing to take out both would stand.
    """
    return CommitProperties(app_transactions=[Transaction("headwater", table.version() + 1)])


def normalized_path(lake: Store, use_case: UseCase, dataset: Dataset) -> Store:
    """Where a normalized table is."""
    return lake / "normalized" / use_case.slug / dataset.name


def quarantine_path(lake: Store, use_case: UseCase, dataset: Dataset) -> Store:
    """Where the quarantined rows of a data set are."""
    return lake / "quarantine" / use_case.slug / dataset.name


def snapshot_path(lake: Store, use_case: UseCase) -> Store:
    """Where the training snapshots of a use case are."""
    return lake / "snapshots" / use_case.slug


def open_table(path: Store, version: int | None = None) -> DeltaTable | None:
    """The Delta table there, or None."""
    # Not asked with DeltaTable.is_deltatable: it holds the interpreter's lock while it waits for an object store
    try:
        return DeltaTable(path.url, version=version, storage_options=path.delta_options)
    except TableNotFoundError:
        return None


def open_or_make(
    path: Store, schema: dict[str, pl.DataType], properties: Mapping[str, str], partition_by: list[str] | None = None
) -> DeltaTable:
    """The table, made without rows where there is none: of two that make it with rows, Delta would keep both's."""
    table = open_table(path)
    if table is None:
        write_deltalake(
            path.url,
            pl.DataFrame(schema=schema),
            mode="ignore",
            partition_by=partition_by,
            configuration=properties,
            storage_options=path.delta_options,
        )
        table = DeltaTable(path.url, storage_options=path.delta_options)
    return table


def adopt(table: DeltaTable, schema: Mapping[str, pl.DataType]) -> None:
    """Gives a table the columns that its contract has got since the table was made.

    Raises:
        StorageError: the type of a column is no longer the contract's.
    """
    wanted = {field.name: field for field in Schema.from_arrow(pl.DataFrame(schema=schema).to_arrow().schema).fields}
    present = {field.name: field for field in table.schema().fields}
    for name, field in wanted.items():
        if name in present and present[name].type != field.type:
            raise StorageError(
                f"{table.table_uri} has {name} as {present[name].type}, its contract as {field.type}; make the tables "
                "anew with `headwater rebuild`."
            )
    added = [field for name, field in wanted.items() if name not in present]
    if added:
        table.alter.add_columns(added)


def scan(path: Store, files: list[str], schema: dict[str, pl.DataType]) -> pl.LazyFrame:
    """The rows of a table's data files: the columns of the schema."""
    # Parquet files are read by their names: DeltaTable.to_pyarrow_* aborts the process at exit under pyarrow 25
    if not files:
        return pl.LazyFrame(schema=schema)
    # A contract of the same major version may have got columns that older files do not have
    return pl.scan_parquet(
        files,
        schema=schema,
        extra_columns="ignore",
        missing_columns="insert",
        cast_options=pl.ScanCastOptions(integer_cast="allow-float"),
        glob=False,
        storage_options=path.polars_options,
    )
