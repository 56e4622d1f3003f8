"""The CRM's tables, and what brings them to a day."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from datetime import date
from typing import Any

import psycopg2
from psycopg2.extras import execute_values

from sandbox.crm.company import CONTRACTS, CUSTOMERS, USAGE, Event, events

START = date(2024, 1, 1)
SIZE = 900
KEYS = {CUSTOMERS: ("customer_id",), CONTRACTS: ("contract_id",), USAGE: ("customer_id", "month")}
_DDL = """
create schema if not exists crm;
create table if not exists crm.customers (
    customer_id text primary key, gender text, is_senior boolean, has_partner boolean, has_dependents boolean,
    payment_method text, is_paperless boolean, joined_on date not null, left_on date, updated_at timestamptz not null
);
create table if not exists crm.contracts (
    contract_id text primary key, customer_id text not null, kind text not null, has_phone boolean,
    has_multiple_lines boolean, internet_service text, has_online_security boolean, has_online_backup boolean,
    has_device_protection boolean, has_tech_support boolean, has_streaming_tv boolean, has_streaming_movies boolean,
    monthly_price numeric(10, 2), started_on date not null, ended_on date, updated_at timestamptz not null
);
create table if not exists crm.monthly_usage (
    customer_id text, month date, charge numeric(10, 2), total_charge numeric(12, 2), data_gb double precision,
    support_calls int, updated_at timestamptz not null, primary key (customer_id, month)
);
create index if not exists customers_updated_at on crm.customers (updated_at);
create index if not exists contracts_updated_at on crm.contracts (updated_at);
create index if not exists monthly_usage_updated_at on crm.monthly_usage (updated_at);
create schema if not exists simulation;
create table if not exists simulation.clock (through date not null);
"""


def advance(url: str, day: date, size: int = SIZE, start: date = START) -> int:
    """Brings the database to the evening of a day, in one transaction; gives how many rows it wrote or deleted.

    A day that it has reached already changes nothing. `size` and `start` hold for its whole life.
    """
    with closing(psycopg2.connect(url, connect_timeout=5)) as connection, connection, connection.cursor() as cursor:
        cursor.execute("select pg_advisory_xact_lock(hashtext('simulation'))")
        cursor.execute(_DDL)
        cursor.execute("select max(through) from simulation.clock")
        through: date | None = cursor.fetchone()[0]
        if through is not None and through >= day:
            return 0
        found = events(start, day, size)
        count = _apply(cursor, (event for event in found if through is None or event.committed > through))
        cursor.execute("delete from simulation.clock")
        cursor.execute("insert into simulation.clock values (%s)", (day,))
        return count


def _apply(cursor: Any, found: Iterable[Event]) -> int:
    """The last event of each key, in the order of their commits."""
    last: dict[tuple[str, str], Event] = {}
    for event in sorted(found, key=lambda one: one.committed):
        last[event.table, event.key] = event
    for table, key in KEYS.items():
        ours = [event for (name, _), event in last.items() if name == table]
        gone = [(event.key,) for event in ours if event.row is None]
        text = " || ' ' || ".join(f"{name}::text" for name in key)
        if gone:
            execute_values(cursor, f"delete from crm.{table} using (values %s) as gone (k) where {text} = gone.k", gone)
        rows = [event.row for event in ours if event.row is not None]
        if rows:
            names = list(rows[0])
            changed = ", ".join(f"{name} = excluded.{name}" for name in names if name not in key)
            execute_values(
                cursor,
                f"insert into crm.{table} ({', '.join(names)}) values %s"
                f" on conflict ({', '.join(key)}) do update set {changed}",
                [tuple(row[name] for name in names) for row in rows],
                page_size=1000,
            )
    return len(last)
