"""The BentoML service: all champions, or, inside of a Bento, the one model that lies there beside this code.

The model is a file of the Bento and not an entry of BentoML's model store: the Bento is then one folder that
can be copied, exported or put into an image by itself, and no second store can get out of step with it.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import bentoml

from models.serving import readiness
from models.serving.app import Application
from models.serving.bento import bento_folder
from models.serving.card import BENTO_FOLDER, CARD_FILE, read_card
from models.serving.experiments import Experiments
from models.serving.front import Desk, Front
from models.serving.hosted import Loader, Served, Status
from models.serving.keys import KeyRing
from models.serving.metrics import VERSION
from models.serving.pool import Pool
from models.serving.spool import RequestLog
from models.serving.watch import Watch, settle_memory
from pipelines.registry import use_cases
from pipelines.settings import Settings, get_settings

FOLDER = Path(__file__).resolve().parents[2] / BENTO_FOLDER
SWITCH_S = 0.001
"""How long a thread may keep the interpreter while the event loop waits for it; Python's own 5 ms show in the P99."""

# Read on import, because a Bento is named after what it serves
card = read_card(FOLDER) if (FOLDER / CARD_FILE).exists() else None
desk = Desk()
logger = logging.getLogger(__name__)


# Per request, the access log and the spans cost more than the web server does.
@bentoml.service(
    name=f"headwater-{card.use_case}" if card else "headwater",
    logging={"access": {"enabled": False}},
    tracing={"excluded_urls": ".*"},
    metrics={"enabled": False},
)
class Predictions:
    """Predictions over HTTP.

    BentoML makes the instance before its server accepts connections, so no request meets a worker that has not loaded
    what it is to serve: until then connections wait.
    """

    def __init__(self) -> None:
        settings = get_settings()
        sys.setswitchinterval(SWITCH_S)
        self._pool = Pool(settings.require_database)
        self._loader = Loader(self._pool)
        self._log = _log(settings)
        keys, experiments = _keys(settings), Experiments()
        self._served = self._fixed() if card else Served(tuple(use_cases()))
        self._application = Application(self._served, keys, experiments, self._log)
        file = None if card else readiness.WorkerFile(settings.home, _worker())
        self._watch = Watch(
            self._served,
            self._loader,
            partial(bento_folder, settings),
            keys,
            experiments,
            settings.require_database,
            file,
            self._log,
        )
        if settings.database_url is not None:
            self._watch.start()
        settle_memory()
        desk.application = self._application
        began = time.time()
        desk.readiness = lambda: self._ready(settings, began)

    def _fixed(self) -> Served:
        """The model of this Bento, for good."""
        assert card is not None  # noqa: S101 - this is only called where there is one
        served, name = Served((card.use_case,), fixed=True, looked=True), card.use_case
        served.champions[name] = self._loader.load(FOLDER, name)
        served.statuses[name] = Status(card.version, card.version)
        VERSION.labels(name).set(card.version)
        return served

    def _ready(self, settings: Settings, began: float) -> tuple[bool, dict[str, Any]]:
        if card:
            return readiness.of_one(self._served)
        return readiness.judge(readiness.read(settings.home), settings.serving_workers, began)

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    async def close(self) -> None:
        """Brings what is left into the request log, and ends threads and connections."""
        await self._application.shadow.close()
        await asyncio.to_thread(self._watch.close)
        await asyncio.to_thread(self._loader.close)
        if self._log is not None:
            await asyncio.to_thread(self._log.close)
        self._pool.close()


def _worker() -> int:
    return int(bentoml.server_context.worker_index or 1)


def _keys(settings: Settings) -> KeyRing:
    return KeyRing(required=settings.serving_keys == "required", workers=1 if card else settings.serving_workers)


def _log(settings: Settings) -> RequestLog | None:
    """Without a database there is nowhere to bring the log to, as where somebody tries a Bento out."""
    if settings.database_url is None:
        return None
    return RequestLog(settings.home / "serving" / "spool", settings.require_database)


Predictions.add_asgi_middleware(Front, desk=desk)  # type: ignore[attr-defined]
