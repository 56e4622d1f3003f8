"""Who may do what in the warehouse: four roles, made where they are missing and set right at each start.

headwater    owns the database, the schemas `ops` and `serving`, and the tables that are only ever added to; migrates
pipeline     what the DAGs run as: makes and fills tables, adds to those that are only ever added to
analyst      reads features and predictions, no API keys, and writes nothing
serving      what the service runs as: reads features, promotions, evidence, keys; adds predictions, tells the ledger
             which version it serves
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from psycopg2 import sql

from headwater.stack.databases import create_role, open_cursor
from pipelines import database
from pipelines.errors import StackError
from pipelines.registry import use_cases

OWNER, PIPELINE, ANALYST, SERVING = "headwater", "pipeline", "analyst", "serving"
_APPEND_ONLY = ("ops.promotions", "ops.evidence", "serving.experiments")
_KEPT = (*_APPEND_ONLY, "ops.migrations")
"""What the owner keeps for itself."""
_GUARDS = ("ops.refuse_change()", "serving.refuse_change()")
"""The functions that keep those tables so: who owns one can replace it."""
NO_OWNER = f"revoke {OWNER} from {PIPELINE}"
"""What a restore lends the pipeline; one that was killed has not taken it back."""
_SHARED = f"""
{NO_OWNER};
grant create, temporary on database headwater to {PIPELINE};
create schema if not exists ops authorization {OWNER};
create schema if not exists serving authorization {OWNER};
grant usage, create on schema ops, serving to {PIPELINE};
create schema if not exists extracts authorization {PIPELINE};
-- A migration changes the tables of both
grant {PIPELINE} to {OWNER};
grant usage on schema ops, serving to {SERVING};
grant usage on schema serving to {ANALYST};
-- How old the oldest transaction is, whosoever it is (platform__health); who may not grant that leaves it at its own
do $$ begin
    grant pg_read_all_stats to {PIPELINE};
exception when insufficient_privilege then
    raise notice '%', sqlerrm;
end $$;
alter role {ANALYST} set default_transaction_read_only = on;
alter role {ANALYST} set statement_timeout = '15min';
alter default privileges for role {PIPELINE} in schema serving grant select on tables to {ANALYST}, {SERVING};
"""
_OF_USE_CASE = f"""
create schema if not exists {{raw}} authorization {PIPELINE};
create schema if not exists {{features}} authorization {PIPELINE};
grant usage on schema {{features}} to {ANALYST}, {SERVING};
grant select on all tables in schema {{features}} to {ANALYST}, {SERVING};
alter default privileges for role {PIPELINE} in schema {{features}} grant select on tables to {ANALYST}, {SERVING};
"""
_TELL = "ops.tell_served(text, text, double precision, jsonb)"
_TABLES = f"""
alter function serving.make_partition(text, date) owner to {PIPELINE};
grant select on all tables in schema serving to {ANALYST}, {SERVING};
revoke all on serving.api_keys from {ANALYST};
grant update (last_used_at) on serving.api_keys to {SERVING};
grant insert on serving.predictions to {SERVING};
grant select, insert, delete on serving.shipped to {SERVING};
grant select on ops.migrations to {PIPELINE}, {SERVING};
grant select on ops.promotions, ops.evidence to {SERVING};
-- Makes the partition of a day, which the service may not do itself
alter function serving.make_partition(text, date) security definer set search_path = pg_catalog, pg_temp;
revoke execute on function serving.make_partition(text, date) from public;
grant execute on function serving.make_partition(text, date) to {SERVING};
-- Of the pipeline, whose table the ledger is: what it hangs on that must not run with the owner's rights
alter function {_TELL} owner to {PIPELINE};
revoke execute on function {_TELL} from public;
grant execute on function {_TELL} to {SERVING};
"""


def apply(admin_url: str, owner_url: str, passwords: Mapping[str, str]) -> None:
    """Makes the roles, schemas, tables and grants of the warehouse.

    Args:
        admin_url: of the database `headwater`, as the superuser or as whoever has made it and its owner.
        owner_url: of the same database as its owner.
        passwords: of the roles.

    Raises:
        DatabaseError: the tables are newer than this code, or a migration failed.
    """
    with open_cursor(admin_url) as cursor:
        for role in (PIPELINE, ANALYST, SERVING):
            create_role(cursor, role, passwords[role])
            cursor.execute(sql.SQL("grant connect on database headwater to {}").format(sql.Identifier(role)))
        cursor.execute(_SHARED)
        for use_case in use_cases().values():
            names = {"raw": sql.Identifier(use_case.raw_schema), "features": sql.Identifier(use_case.schema)}
            cursor.execute(sql.SQL(_OF_USE_CASE).format(**names))
    database.ensure_ops(owner_url)
    with open_cursor(admin_url) as cursor:
        _own(cursor)
        cursor.execute(_TABLES)


def _own(cursor: Any) -> None:
    cursor.execute("select schemaname, tablename, tableowner from pg_tables where schemaname in ('ops', 'serving')")
    for schema, table, owner in cursor.fetchall():
        # To name the present owner again would wait for all that read the table
        if owner != (wanted := OWNER if f"{schema}.{table}" in _KEPT else PIPELINE):
            names = sql.Identifier(schema, table), sql.Identifier(wanted)
            cursor.execute(sql.SQL("alter table {} owner to {}").format(*names))
    for table in _APPEND_ONLY:
        cursor.execute(f"grant select, insert on {table} to {PIPELINE}")
    for function in _GUARDS:
        cursor.execute(f"alter function {function} owner to {OWNER}")


def keep_key(url: str, key: str) -> None:
    """Lets the key of the stack's own commands in, such as `.env` has it; another one of that name is revoked.

    Raises:
        StackError: it is no key, such as `hw_<id>_<secret>`, or one that the service refuses.
    """
    parts = key.split("_", 2)
    if len(parts) != 3 or parts[0] != "hw" or len(parts[2]) < 32:
        raise StackError("SERVING_KEY is no key of the service, hw_<id>_<secret>; take the one that `make env` made.")
    hashed = hashlib.sha256(parts[2].encode()).hexdigest()
    with open_cursor(url) as cursor:
        cursor.execute(
            "insert into serving.api_keys (key_id, secret_sha256, name, created_by) values (%s, %s, 'stack', 'stack')"
            " on conflict (key_id) do nothing",
            (parts[1], hashed),
        )
        cursor.execute("select secret_sha256 = %s and revoked_at is null from serving.api_keys where key_id = %s",
                       (hashed, parts[1]))  # fmt: skip
        if not cursor.fetchone()[0]:
            raise StackError(
                f"The service refuses SERVING_KEY: its id {parts[1]} is of a key that was revoked or has another "
                "secret. Write hw_<id>_<secret> with a new id."
            )
        cursor.execute(
            "update serving.api_keys set revoked_at = now(), revoked_by = 'stack'"
            " where name = 'stack' and key_id <> %s and revoked_at is null",
            (parts[1],),
        )
