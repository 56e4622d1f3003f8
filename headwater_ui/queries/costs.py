"""What the tasks have cost: by task, by day, and of one run."""

from __future__ import annotations

from datetime import date

from headwater_ui.warehouse import Row, Warehouse
from pipelines.costs import Rates
from pipelines.window import Window

_SUMS = """count(*) as tries, count(*) filter (where state = 'failed') as failed,
       count(*) filter (where state = 'running') as running,
       sum(seconds) as seconds, sum(cpu_seconds) as cpu_seconds, max(peak_memory_mb) as peak_memory_mb,
       sum(peak_memory_mb * seconds) as memory_mb_seconds, sum(read_bytes) as read_bytes,
       sum(written_bytes) as written_bytes"""
_WITHIN = """from ops.task_costs where started_at >= %(start)s and started_at < %(end)s::date + 1
  and split_part(dag_id, '__', 1) = any(%(slugs)s)"""


def by_task(warehouse: Warehouse, slugs: list[str], window: Window, rates: Rates) -> list[Row]:
    """The tasks of each DAG with their sums and `price`, the dearest first."""
    rows = warehouse.rows(f"select dag_id, task_id, {_SUMS} {_WITHIN} group by 1, 2", _parameters(slugs, window))
    return sorted((_priced(row, rates) for row in rows), key=lambda row: -row["price"])


def by_day(warehouse: Warehouse, slugs: list[str], window: Window, rates: Rates) -> dict[date, Row]:
    """The sums and the `price` of each day (UTC) that has some."""
    sql = f"select (started_at at time zone 'UTC')::date as day, {_SUMS} {_WITHIN} group by 1 order by 1"
    return {row["day"]: _priced(row, rates) for row in warehouse.rows(sql, _parameters(slugs, window))}


def of_run(warehouse: Warehouse, dag_id: str, run_id: str, rates: Rates) -> list[Row]:
    """Every try of a run's tasks, with its `price`."""
    rows = warehouse.rows(
        """select task_id, map_index, try_number, state, started_at, seconds, cpu_seconds, peak_memory_mb,
                  peak_memory_mb * seconds as memory_mb_seconds, read_bytes, written_bytes
           from ops.task_costs where dag_id = %s and run_id = %s order by started_at""",
        (dag_id, run_id),
    )
    return [_priced(row, rates) for row in rows]


def _parameters(slugs: list[str], window: Window) -> dict[str, object]:
    return {"slugs": slugs, "start": window.start, "end": window.end}


def _priced(row: Row, rates: Rates) -> Row:
    moved = (row["read_bytes"] or 0) + (row["written_bytes"] or 0)
    return row | {"price": rates.price(row["cpu_seconds"] or 0, row["memory_mb_seconds"] or 0, float(moved))}
