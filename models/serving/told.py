"""Rows of the ledger that the service writes: which version a worker has loaded, or could not.

By a function of the warehouse, because the service's role in containers may write nothing else there, and because the
ledger's module brings the lake with it, which a worker has no use for.
"""

from __future__ import annotations

import json
from typing import Any

import psycopg2


def tell(url: str, use_case: str, state: str, seconds: float, detail: dict[str, Any]) -> None:
    """Writes one row, of today's window, of the data set `model` and the step `serve`; `state` is `loaded` or `failed`.

    Raises:
        psycopg2.Error: the warehouse cannot be reached, or has no ledger yet.
    """
    connection = psycopg2.connect(url, connect_timeout=3, options="-c statement_timeout=5000")
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute("select ops.tell_served(%s, %s, %s, %s)", (use_case, state, seconds, json.dumps(detail)))
    finally:
        connection.close()
