"""A request quota per client and rolling hour, as api.data.gov keeps it in front of the USGS."""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

WINDOW_SECONDS = 3600.0


@dataclass(slots=True)
class RateLimiter:
    """`anonymous` requests an hour per address without a key, `keyed` per key with one."""

    anonymous: int = 50
    keyed: int = 1000
    now: Callable[[], float] = time.monotonic
    _seen: defaultdict[str, deque[float]] = field(default_factory=lambda: defaultdict(deque))

    def admit(self, request: Request) -> tuple[dict[str, str], Response | None]:
        """Count a request: the quota's headers, and the refusal (429) if it is used up."""
        key = request.headers.get("x-api-key") or request.query_params.get("api_key")
        allowed = self.keyed if key else self.anonymous
        seen = self._seen[f"key {key}" if key else f"address {request.client.host if request.client else ''}"]
        now = self.now()
        while seen and seen[0] <= now - WINDOW_SECONDS:
            seen.popleft()
        headers = {"X-RateLimit-Limit": str(allowed)}
        if len(seen) >= allowed:
            wait = int(seen[0] + WINDOW_SECONDS - now) + 1 if seen else int(WINDOW_SECONDS)
            return headers, _refusal({**headers, "X-RateLimit-Remaining": "0", "Retry-After": str(wait)})
        seen.append(now)
        return {**headers, "X-RateLimit-Remaining": str(allowed - len(seen))}, None


def _refusal(headers: dict[str, str]) -> Response:
    message = "You have exceeded your rate limit. Try again later."
    return JSONResponse({"error": {"code": "OVER_RATE_LIMIT", "message": message}}, 429, headers)
