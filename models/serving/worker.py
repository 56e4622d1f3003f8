"""Runs BentoML's worker process so that it leaves without breaking a request; started as a file, see `DrainingServer`.

Nothing of this project may be imported here: BentoML imports the service, when its own settings are in place.
"""

from __future__ import annotations

import asyncio
import os
import socket

import uvicorn
from _bentoml_impl.worker.service import main  # type: ignore[import-untyped]

PARENT = os.getppid()
DRAIN_S = 1.0
"""How long connections that are open when the worker is told to end may still bring a request."""


class DrainingServer(uvicorn.Server):
    """A uvicorn server that answers what has been connected before it shuts down.

    uvicorn closes each connection that has no request under way as soon as it stops accepting, also one that was
    accepted a moment ago and whose request is still on its way: that client reads *disconnected without sending a
    response*. Here such requests are still answered, with `Connection: close`.

    It also ends when the process that started it is gone: as long as it listened, the port would be taken for the next.
    """

    async def on_tick(self, counter: int) -> bool:
        """Whether to end, asked ten times a second."""
        return await super().on_tick(counter) or os.getppid() != PARENT

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accepts no more, waits up to `DRAIN_S` for the connections there are, then shuts down."""
        for server in self.servers:
            server.close()
        self.server_state.default_headers.append((b"connection", b"close"))
        loop = asyncio.get_running_loop()
        until = loop.time() + DRAIN_S
        # A connection that has been accepted shows up among the connections a moment later: look at least once after
        await asyncio.sleep(0.1)
        while self.server_state.connections and loop.time() < until:
            await asyncio.sleep(0.02)
        await super().shutdown(sockets)


if __name__ == "__main__":
    # BentoML looks the class up in uvicorn when it starts the server, and has no setting for another one
    uvicorn.Server = DrainingServer  # type: ignore[misc]
    main()
