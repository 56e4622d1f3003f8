"""Answers on the service's port while there is no model: 503 and a sentence, on every path but `/livez`."""

from __future__ import annotations

import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Placeholder:
    """A tiny HTTP server on a socket that somebody else owns."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._sentence = ""
        self._server: ThreadingHTTPServer | None = None

    def show(self, sentence: str) -> None:
        """Answers with that sentence from now on."""
        self._sentence = sentence
        if self._server is not None:
            return
        self._server = ThreadingHTTPServer(("", 0), self._handler(), bind_and_activate=False)
        self._server.socket.close()
        self._server.socket = self._listener.dup()
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def hide(self) -> None:
        """Answers no more; the listening socket stays open."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        placeholder = self

        class Handler(BaseHTTPRequestHandler):
            def _answer(self) -> None:
                body = json.dumps({"error": placeholder._sentence, "field": None}).encode()
                # An unread body would make the kernel reset the connection, and the client miss the answer.
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                # Alive it is, so that nobody restarts it; ready it is not
                self.send_response(200 if self.path == "/livez" else 503)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Retry-After", "5")
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = _answer  # noqa: N815

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """Writes no access log."""

        return Handler
