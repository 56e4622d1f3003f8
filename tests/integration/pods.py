"""So much of Kubernetes' API as Airflow's executor uses, over processes of this machine in place of pods."""

from __future__ import annotations

import json
import subprocess
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from copy import deepcopy
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

Start = Callable[[dict[str, Any]], "subprocess.Popen[bytes]"]
"""Starts the process of a pod."""
WATCHED_S = 20.0
"""Shorter than a client waits for news."""


class Kubernetes(ThreadingHTTPServer):
    """The API. It starts each pod that is made, and tells those who watch how its process ended."""

    daemon_threads = True

    def __init__(self, start: Start) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.start = start
        self.pods: dict[str, dict[str, Any]] = {}
        """Those that there are."""
        self.all: dict[str, dict[str, Any]] = {}
        """And those that were deleted."""
        self.events: list[dict[str, Any]] = []
        self.changed = threading.Condition()

    def put(self, kind: str, pod: dict[str, Any]) -> dict[str, Any]:
        """Keeps a pod's new state."""
        with self.changed:
            pod["metadata"]["resourceVersion"] = str(len(self.events) + 1)
            name = pod["metadata"]["name"]
            self.all[name] = pod
            if kind == "DELETED":
                self.pods.pop(name, None)
            else:
                self.pods[name] = pod
            self.events.append({"type": kind, "object": deepcopy(pod)})
            self.changed.notify_all()
            return pod

    def make(self, pod: dict[str, Any]) -> dict[str, Any]:
        """Starts a pod."""
        pod = {"apiVersion": "v1", "kind": "Pod", **pod, "status": {"phase": "Running"}}
        pod["metadata"] |= {"uid": str(uuid.uuid4()), "creationTimestamp": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"}
        self.put("ADDED", pod)
        threading.Thread(target=self._run, args=(pod,), daemon=True).start()
        return pod

    def _run(self, pod: dict[str, Any]) -> None:
        code = self.start(pod).wait()
        with self.changed:
            if pod["metadata"]["name"] in self.pods:
                self.put("MODIFIED", {**pod, "status": {"phase": "Failed" if code else "Succeeded"}})


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Kubernetes

    def log_message(self, *_: Any) -> None:
        pass

    def _say(self, body: dict[str, Any], status: int = 200) -> None:
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def _body(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or "{}")
        return found

    def do_GET(self) -> None:
        asked = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(asked.query).items()}
        if asked.path.endswith("/pods"):
            if query.get("watch", "").lower() == "true":
                self._watch(int(query.get("resourceVersion") or 0))
            else:
                items = [pod for pod in self.server.pods.values() if _matches(pod, query.get("labelSelector", ""))]
                self._say({"apiVersion": "v1", "kind": "PodList", "items": items,
                           "metadata": {"resourceVersion": str(len(self.server.events))}})  # fmt: skip
        else:
            self._say(
                DISCOVERY.get(asked.path, {"kind": "Status", "code": 404}), 200 if asked.path in DISCOVERY else 404
            )

    def do_POST(self) -> None:
        self._say(self.server.make(self._body()), 201)

    def do_PATCH(self) -> None:
        name = urlsplit(self.path).path.rpartition("/")[2]
        pod, said = deepcopy(self.server.pods[name]), self._body()
        pod["metadata"].setdefault("labels", {}).update(said["metadata"].get("labels") or {})
        self._say(self.server.put("MODIFIED", pod))

    def do_DELETE(self) -> None:
        self._body()
        pod = self.server.pods.get(urlsplit(self.path).path.rpartition("/")[2])
        if pod is None:
            self._say({"kind": "Status", "code": 404}, 404)
        else:
            self._say(self.server.put("DELETED", pod))

    def _watch(self, after: int) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        ends = time.monotonic() + WATCHED_S
        with suppress(ConnectionError):
            self._tell(after, ends)

    def _tell(self, after: int, ends: float) -> None:
        while time.monotonic() < ends:
            with self.server.changed:
                if len(self.server.events) <= after:
                    self.server.changed.wait(5)
                news, after = self.server.events[after:], len(self.server.events)
            for event in news:
                line = json.dumps(event).encode() + b"\n"
                self.wfile.write(f"{len(line):x}\r\n".encode() + line + b"\r\n")
                self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")


DISCOVERY: dict[str, dict[str, Any]] = {
    "/version": {"major": "1", "minor": "36"},
    "/api": {"kind": "APIVersions", "versions": ["v1"]},
    "/apis": {"kind": "APIGroupList", "groups": []},
    "/api/v1": {"kind": "APIResourceList", "groupVersion": "v1", "resources": [
        {"name": "pods", "singularName": "", "namespaced": True, "kind": "Pod", "verbs": ["create", "get", "list"]}
    ]},
}  # fmt: skip


def _matches(pod: dict[str, Any], selector: str) -> bool:
    labels = pod["metadata"].get("labels") or {}
    for part in filter(None, selector.split(",")):
        name, unequal, value = part.partition("!=")
        if unequal:
            if labels.get(name) == value:
                return False
        elif "=" in part and labels.get(part.partition("=")[0]) != part.rpartition("=")[2]:
            return False
    return True
