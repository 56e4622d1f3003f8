"""A CRM of the sandbox in a database of its own, and an account that may read it, as the local stack makes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import psycopg2

from headwater.stack.databases import create_reader, grant_reading
from headwater.stack.postgres import reader_of
from sandbox import crm

SIZE, START = 150, date(2024, 1, 1)


@dataclass(frozen=True)
class Crm:
    """`owner` is the superuser's URL of it, `reader` that of the account which Headwater has."""

    owner: str
    reader: str

    @classmethod
    def make(cls, owner: str) -> Crm:
        server, _, name = owner.rpartition("/")
        with psycopg2.connect(owner) as connection, connection.cursor() as cursor:
            create_reader(cursor, name, "secret")
            grant_reading(cursor, name)
        connection.close()
        host = server.rpartition("@")[2]
        return cls(owner, f"postgresql://{reader_of(name)}:secret@{host}/{name}")

    def advance(self, day: date) -> int:
        return crm.advance(self.owner, day, size=SIZE, start=START)

    def do(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        connection = psycopg2.connect(self.owner)
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute(sql, parameters or None)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()
