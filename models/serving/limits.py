"""What one request may ask of a worker. Beyond it the answer is a sentence and a status, and costs little."""

from __future__ import annotations

MAX_ITEMS = 1000
"""Entities or rows of a request in JSON; more is a 422."""
MAX_ARROW_ROWS = 50_000
"""Rows of a request in Arrow; more is a 422."""
MAX_JSON_BYTES = 4 * 2**20
MAX_ARROW_BYTES = 64 * 2**20
"""Size of a request's body; more is a 413."""
MAX_UNDER_WAY = 256
"""Requests that a worker works on at once; one more is a 503 that says when to try again."""
MAX_BYTES_UNDER_WAY = 256 * 2**20
"""Size of their bodies together; what would be more is a 503, too."""
TIMEOUT_S = 30.0
"""How long a request may take, with the sending of its body; longer is a 504."""
CHALLENGER_S = 2.0
"""How long a split's challenger is waited for: the champion, which answers in its place, has done so by then."""
END_S = TIMEOUT_S + 10.0
"""How long a worker that is told to end may take: for what it has begun, and to bring its log into the warehouse."""
INLINE_ROWS = 64
"""Rows that are predicted at once in the event loop, where they cost about a millisecond; more go to a thread."""
THREAD_ROWS = 2048
"""Rows that are predicted at once in a thread."""
LOOKED_UP_AT_ONCE = 2000
"""Entities that are looked up in one statement."""
CONNECTIONS = 4
"""Connections to the warehouse that a worker keeps for looking features up."""
SHADOW_ROWS = 2000
"""Rows that wait for a shadow; beyond that they are dropped and counted."""
