"""What the service counts, for Prometheus; right with several workers, which count into files of one folder."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, values
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import REGISTRY

from models.serving.spool import Backlog

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

REQUESTS = Counter("headwater_requests", "Prediction requests.", ["use_case", "status"])
LATENCY = Histogram("headwater_request_seconds", "From request to answer.", ["use_case"], buckets=_BUCKETS)
ROWS = Counter("headwater_rows", "Predictions, by version and arm.", ["use_case", "version", "arm"])
ERRORS = Counter("headwater_errors", "Requests that were refused, by what was wrong.", ["use_case", "kind"])
VERSION = Gauge("headwater_model_version", "The version that is served.", ["use_case"], multiprocess_mode="mostrecent")
SWAPS = Counter("headwater_swaps", "Versions that took another's place, in each worker.", ["use_case"])
LOAD_FAILURES = Counter("headwater_load_failures", "Versions that could not be loaded, in each worker.", ["use_case"])
LOG_ROWS = Gauge("headwater_log_rows", "Rows of the request log that wait.", multiprocess_mode="livesum")
LOG_AGE = Gauge("headwater_log_oldest_seconds", "Age of the oldest of them.", multiprocess_mode="livemax")
LOG_BYTES = Gauge("headwater_log_bytes", "Their size on disk.", multiprocess_mode="livesum")
LOG_SHIPPED = Gauge("headwater_log_shipped_rows", "Rows brought into the warehouse.", multiprocess_mode="sum")
LOG_REFUSED = Gauge("headwater_log_refused_rows", "Rows that Postgres refuses, kept in files.", multiprocess_mode="sum")
SHADOW_DROPPED = Counter("headwater_shadow_dropped_rows", "Rows that the shadow was too slow for.", ["use_case"])
UNDER_WAY = Gauge("headwater_requests_under_way", "Requests being worked on.", multiprocess_mode="livesum")

LOG_TURNED_AWAY = Gauge("headwater_log_turned_away_rows", "Rows there was no room for.", multiprocess_mode="sum")

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"
KINDS = {401: "no_key", 403: "key", 404: "not_found", 413: "too_large", 415: "media_type", 422: "refused",
         429: "rate", 500: "model", 503: "unavailable", 504: "timeout"}  # fmt: skip
"""The kind of error by the status that the client reads."""


class Counted:
    """The counters of one use case, looked up once: in the midst of a request a label costs more than its number."""

    def __init__(self, use_case: str) -> None:
        self.use_case = use_case
        self._good = REQUESTS.labels(use_case, "200")
        self._latency = LATENCY.labels(use_case)
        self._rows: dict[tuple[int, str], Counter] = {}

    def answered(self, seconds: float) -> None:
        """A request was answered."""
        self._good.inc()
        self._latency.observe(seconds)

    def refused(self, status: int, seconds: float) -> None:
        """A request was not answered."""
        REQUESTS.labels(self.use_case, str(status)).inc()
        ERRORS.labels(self.use_case, KINDS.get(status, "other")).inc()
        self._latency.observe(seconds)

    def predicted(self, version: int, arm: str, rows: int) -> None:
        """So many rows were predicted."""
        found = self._rows.get((version, arm))
        if found is None:
            found = self._rows[version, arm] = ROWS.labels(self.use_case, str(version), arm)
        found.inc(rows)


def show_backlog(found: Backlog) -> None:
    """Sets the numbers of this process's request log."""
    LOG_ROWS.set(found.rows)
    LOG_AGE.set(found.oldest_s)
    LOG_BYTES.set(found.bytes)
    LOG_SHIPPED.set(found.shipped)
    LOG_REFUSED.set(found.refused)
    LOG_TURNED_AWAY.set(found.turned_away)


def page() -> bytes:
    """The metrics of all workers, or of this process where it counts in memory."""
    if not values.ValueClass._multiprocess:
        return generate_latest(REGISTRY)
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)
