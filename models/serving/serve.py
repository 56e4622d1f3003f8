"""Serves the champions of all use cases at one address, with as many workers as are set.

The supervisor holds the listening socket and hands it to its workers. `bentoml serve` binds the port by itself, and
starts one worker process after the other behind it; what runs here is that worker process, on our socket, so that the
port stays open whatever becomes of a worker.
"""

from __future__ import annotations

import ipaddress
import logging
import signal
import socket
import threading
from urllib.parse import urlsplit

from models.serving.supervisor import Supervisor
from pipelines.errors import SettingsError, StackError
from pipelines.settings import PREFIX, Settings

POLL_S = 0.2

logger = logging.getLogger(__name__)


def serve(settings: Settings, stop: threading.Event | None = None) -> None:
    """Serves the champions until SIGTERM, SIGINT or `stop`.

    Raises:
        SettingsError: there is no warehouse to read the promotions from, no port to serve at, or keys are not
            required where others than this machine can ask.
        StackError: the port is taken.
    """
    settings.require_database()
    port = urlsplit(settings.serving_url).port
    if port is None:
        raise SettingsError(
            f"{settings.serving_url}, where champions are to be served, names no port; write one, such as :3000."
        )
    _refuse_strangers(settings)
    stop = stop or _stop_on_signal()
    listener = _listen(settings.serving_host, port)
    supervisor = Supervisor(settings, listener)
    try:
        while not stop.is_set():
            supervisor.step()
            stop.wait(POLL_S)
    finally:
        supervisor.close()
        listener.close()


def _refuse_strangers(settings: Settings) -> None:
    if settings.serving_keys != "required" and not is_loopback(settings.serving_host):
        raise SettingsError(
            f"{PREFIX}SERVING_HOST is {settings.serving_host}, where others than this machine can ask; set "
            f"{PREFIX}SERVING_KEYS=required, and give out keys with `headwater keys`."
        )


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach that address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _listen(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise StackError(f"{host}:{port} cannot be bound ({error.strerror}); end what holds the port.") from error
    listener.listen(2048)
    # Several processes wait for the same connections; who comes second must not block in accept.
    listener.setblocking(False)
    return listener


def _stop_on_signal() -> threading.Event:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop
