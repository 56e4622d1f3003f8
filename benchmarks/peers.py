"""Other ways to bring a Parquet file into Postgres. Each fills the same table, but for dlt, which makes its own."""

from __future__ import annotations

import io
import logging
import os
import shutil
from typing import Any

import psycopg2
from psycopg2.extras import execute_values

from benchmarks.server import Server
from benchmarks.work import Work
from pipelines.types import REVISED_AT, stored_schema

DLT_SCHEMA = "bench_dlt"


def columns(work: Work) -> list[str]:
    """The names of the stored columns, in order."""
    return list(stored_schema(work.dataset))


def _arrow(work: Work) -> Any:
    """The file with the time of receipt, as an Arrow table."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(work.path)
    received = pa.scalar(0, pa.timestamp("us", "UTC"))
    return table.append_column(REVISED_AT, pa.repeat(received, table.num_rows))


def _pandas(work: Work) -> Any:
    import pandas as pd

    return pd.read_parquet(work.path).assign(**{REVISED_AT: pd.Timestamp(0, tz="UTC")})


def _copy_csv(server: Server, work: Work, text: Any) -> None:
    sql = f"copy {work.table} ({', '.join(columns(work))}) from stdin (format csv)"
    connection = psycopg2.connect(server.url)
    try:
        with connection, connection.cursor() as cursor:
            cursor.copy_expert(sql, text, size=256 * 1024)
    finally:
        connection.close()


def arrow_csv(server: Server, work: Work) -> None:
    """Pyarrow writes CSV in memory, COPY reads it."""
    from pyarrow import csv

    text = io.BytesIO()
    csv.write_csv(_arrow(work), text, csv.WriteOptions(include_header=False))
    text.seek(0)
    _copy_csv(server, work, text)


def pandas_csv(server: Server, work: Work) -> None:
    """Pandas writes CSV in memory, COPY reads it."""
    text = io.StringIO()
    _pandas(work).to_csv(text, header=False, index=False)
    text.seek(0)
    _copy_csv(server, work, text)


def to_sql(server: Server, work: Work) -> None:
    """Pandas' own way, over SQLAlchemy."""
    from sqlalchemy import create_engine

    schema, name = work.table.split(".")
    engine = create_engine(server.url.replace("postgresql://", "postgresql+psycopg2://"))
    _pandas(work).to_sql(name, engine, schema=schema, if_exists="append", index=False, chunksize=10_000)
    engine.dispose()


def _tuples(work: Work) -> list[tuple[Any, ...]]:
    return list(zip(*(column.to_pylist() for column in _arrow(work).columns), strict=True))


def values(server: Server, work: Work) -> None:
    """psycopg2's `execute_values`, a thousand rows a statement."""
    connection = psycopg2.connect(server.url)
    try:
        with connection, connection.cursor() as cursor:
            sql = f"insert into {work.table} ({', '.join(columns(work))}) values %s"
            execute_values(cursor, sql, _tuples(work), page_size=1000)
    finally:
        connection.close()


def hook(server: Server) -> Any:
    """Airflow's hook for that server; the connection comes from the environment, as it often does."""
    os.environ.setdefault("AIRFLOW_HOME", str(server.folder / "airflow"))
    os.environ["AIRFLOW_CONN_HEADWATER_BENCH"] = server.url
    import structlog
    from airflow.providers.postgres.hooks.postgres import PostgresHook

    # Otherwise a line for every thousand rows
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))

    return PostgresHook(postgres_conn_id="headwater_bench")


def insert_rows(server: Server, work: Work) -> None:
    """Airflow's `PostgresHook.insert_rows` as its documentation has it."""
    hook(server).insert_rows(work.table, _tuples(work), target_fields=columns(work))


def dlt(server: Server, work: Work, merge: bool) -> None:
    """dlt with Arrow and Parquet files, its fastest way: each row appended, or merged by its key."""
    os.environ |= {"RUNTIME__DLTHUB_TELEMETRY": "false", "RUNTIME__LOG_LEVEL": "ERROR"}
    import dlt
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = server.folder / "dlt"
    shutil.rmtree(folder, ignore_errors=True)
    how: dict[str, Any] = {"write_disposition": "append"}
    if merge:
        how = {
            "write_disposition": {"disposition": "merge", "strategy": "upsert"},
            "primary_key": list(work.dataset.keys),
        }

    def batches() -> Any:
        for batch in pq.ParquetFile(work.path).iter_batches(100_000):
            yield pa.Table.from_batches([batch])

    destination = dlt.destinations.postgres(server.url, create_indexes=False)
    pipeline = dlt.pipeline("bench", pipelines_dir=str(folder), destination=destination, dataset_name=DLT_SCHEMA)
    rows = dlt.resource(batches, name=work.dataset.name, **how)
    pipeline.run(rows, loader_file_format="parquet")
