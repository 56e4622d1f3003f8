"""Rows of the ledger that the service writes: which version a worker has loaded, or could not.

By statements of its own, because the ledger's module brings the lake with it, which a worker has no use for.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import psycopg2

DATASET, STEP = "model", "serve"
_INSERT = """
SELECT pg_advisory_xact_lock(hashtext('ledger'));
INSERT INTO ops.ledger (use_case, dataset, step, window_start, window_end, attempt, state, seconds, detail)
SELECT %(use_case)s, %(dataset)s, %(step)s, %(day)s, %(day)s, 1 + count(*), %(state)s, %(seconds)s, %(detail)s
FROM ops.ledger WHERE (use_case, dataset, step, window_start, window_end)
    = (%(use_case)s, %(dataset)s, %(step)s, %(day)s, %(day)s)
"""


def tell(url: str, use_case: str, state: str, seconds: float, detail: dict[str, Any]) -> None:
    """Writes one row, of today's window; `state` is `loaded` or `failed`.

    Raises:
        psycopg2.Error: the warehouse cannot be reached, or has no ledger yet.
    """
    values = {"use_case": use_case, "dataset": DATASET, "step": STEP, "day": datetime.now(UTC).date(), "state": state,
              "seconds": seconds, "detail": json.dumps(detail)}  # fmt: skip
    connection = psycopg2.connect(url, connect_timeout=3, options="-c statement_timeout=5000")
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(_INSERT, values)
    finally:
        connection.close()
