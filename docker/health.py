"""Whether a service is well: `python -IS health.py URL [JOB]`, for a container's health check.

The standard library alone, and as little of it as can be: it runs every few seconds in every container. With JOB
(scheduler, dag_processor, triggerer), URL is that of Airflow's health page, and the job's heartbeat counts.
"""

from __future__ import annotations

import sys
from http.client import HTTPConnection

TIMEOUT_S = 4


def main(url: str, job: str | None = None) -> int:
    """0 where it is well, 1 where it is not; an error of the network is raised."""
    host, _, path = url.removeprefix("http://").partition("/")
    connection = HTTPConnection(host, timeout=TIMEOUT_S)
    connection.request("GET", f"/{path}")
    answer = connection.getresponse()
    if answer.status >= 300:
        return 1
    if job is None:
        return 0
    import json

    status = (json.load(answer).get(job) or {}).get("status")
    return 0 if status == "healthy" else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
