"""A service of made-up models as real processes, on a real Postgres: what the tests of serving share."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import cloudpickle
import httpx
import numpy as np
import pandas as pd
import psutil
import psycopg2
from psycopg2.extras import execute_values
from pydantic import SecretStr
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from headwater.stack.files import free_port
from models.serving import recorded
from models.serving.bento import bento_folder, bento_sha256, end
from models.serving.card import ServingCard, file_sha256
from models.serving.engine import Engine
from models.serving.package import build_bento
from pipelines import database
from pipelines.columns import from_frame
from pipelines.registry import get_use_case, use_cases
from pipelines.settings import Settings
from pipelines.spec import UseCase

USE_CASE = get_use_case("flood")
OTHER = next(use_case for use_case in use_cases().values() if use_case is not USE_CASE)
FEATURES = [
    {"name": "site_id", "type": "string"},
    {"name": "discharge_m3s", "type": "float", "nullable": True},
    {"name": "precip_3d_mm", "type": "float", "nullable": True},
    {"name": "day_of_year", "type": "int"},
    {"name": "is_provisional", "type": "bool"},
]
NAMES = [feature["name"] for feature in FEATURES]
OUTPUTS = ["discharge_m3s_next", "flood_probability"]
FIRST, DAYS, SITES = date(2010, 1, 1), 100, ["07373000", "01646500"]
NEWEST = FIRST + timedelta(days=DAYS - 1)
GOOD = {"site_id": SITES[0]}
ROW = {"site_id": SITES[0], "day_of_year": 3, "is_provisional": False}


def fit(features: pd.DataFrame, factor: float) -> Any:
    """A real pipeline whose answer is a frame.

    Its last step is a local class, which cloudpickle writes by value: the Bento cannot import from tests.
    """

    class Outputs(HistGradientBoostingRegressor):
        def predict(self, X: Any) -> Any:  # noqa: N803
            import numpy
            import pandas

            flow = super().predict(X)
            return pandas.DataFrame(dict(zip(OUTPUTS, (flow, 1 / (1 + numpy.exp(-flow / 100))), strict=True)))

    encode = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), ["site_id"]), remainder="passthrough")
    target = factor * features["discharge_m3s"].fillna(0) + features["precip_3d_mm"].fillna(0)
    return make_pipeline(encode, Outputs(max_iter=20)).fit(features[NAMES], target)


def made_up_features() -> pd.DataFrame:
    """A hundred days of two sites."""
    random = np.random.default_rng(7)
    keys = [(site, FIRST + timedelta(days=n)) for site in SITES for n in range(DAYS)]
    frame = pd.DataFrame(keys, columns=["site_id", "day"])
    frame["discharge_m3s"] = random.gamma(2, 500, len(frame))
    frame.loc[frame.index % 17 == 0, "discharge_m3s"] = np.nan
    frame["precip_3d_mm"] = random.gamma(1, 10, len(frame))
    frame["day_of_year"] = [day.timetuple().tm_yday for day in frame["day"]]
    frame["is_provisional"] = random.random(len(frame)) > 0.5
    return frame


def load(url: str, frame: pd.DataFrame) -> None:
    """Makes the feature table."""
    connection = psycopg2.connect(url)
    with connection, connection.cursor() as cursor:
        cursor.execute("DROP SCHEMA IF EXISTS flood CASCADE; CREATE SCHEMA flood")
        cursor.execute(
            "CREATE TABLE flood.features (site_id text, day date, discharge_m3s double precision, precip_3d_mm "
            "double precision, day_of_year int, is_provisional bool, PRIMARY KEY (site_id, day))"
        )
        rows = [[None if pd.isna(value) else value for value in row] for row in frame.astype(object).values]
        execute_values(cursor, "INSERT INTO flood.features VALUES %s", rows)
    connection.close()


def new_database(postgres_url: str) -> str:
    """An empty database of the session's cluster."""
    name = f"serving_{uuid.uuid4().hex[:12]}"
    connection = psycopg2.connect(postgres_url)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name}")
    connection.close()
    return f"{postgres_url.rpartition('/')[0]}/{name}"


@dataclass
class World:
    """Features in Postgres, and Bentos of versions that answer differently."""

    settings: Settings
    features: pd.DataFrame
    models: dict[int, Any] = field(default_factory=dict)
    cards: dict[int, ServingCard] = field(default_factory=dict)
    files: dict[int, Path] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """The warehouse's."""
        return self.settings.require_database()

    @property
    def base(self) -> str:
        """The service's."""
        return self.settings.serving_url

    def post(self, body: Any, use_case: UseCase = USE_CASE, **more: Any) -> httpx.Response:
        """Asks for predictions."""
        return httpx.post(f"{self.base}/{use_case.slug}/predict", json=body, timeout=30, **more)

    def fit(self, version: int, factor: float, use_case: UseCase = USE_CASE) -> str:
        """Fits a model and builds its Bento."""
        model = fit(self.features, factor)
        return self.build(version, model, use_case)

    def build(self, version: int, model: Any, use_case: UseCase = USE_CASE) -> str:
        """Builds the Bento of a model."""
        file = self.settings.home / f"model-{use_case.slug}-{version}.pkl"
        file.write_bytes(cloudpickle.dumps(model))
        card = ServingCard(
            use_case=use_case.slug, version=version, run_id=f"run{version}", entity="site_id", day="day",
            feature_table="flood.features", features=FEATURES, outputs=OUTPUTS, title="Floods", doc="A test's model.",
            model_sha256=file_sha256(file), created_at=datetime(2026, 1, 1, tzinfo=UTC),
        )  # fmt: skip
        rows = from_frame(self.features[NAMES].head(20))
        told = recorded.content(card, rows, Engine(card, model, "sklearn").predict(rows))
        card = card.model_copy(update={"files": {recorded.RECORDED_FILE: hashlib.sha256(told).hexdigest()}})
        if use_case is USE_CASE:
            self.models[version], self.files[version], self.cards[version] = model, file, card
        beside = file.with_suffix("")
        beside.mkdir()
        (beside / recorded.RECORDED_FILE).write_bytes(told)
        return build_bento(use_case, file, card, beside=beside, settings=self.settings)

    def copy(self, version: int, of: int, use_case: UseCase = USE_CASE) -> Path:
        """A Bento that was built, as another version; the folder of its card and its model."""
        folder = bento_folder(self.settings, f"{use_case.bento}:v{version}")
        shutil.copytree(bento_folder(self.settings, f"{USE_CASE.bento}:v{of}"), folder)
        card = self.cards[of].model_copy(update={"use_case": use_case.slug, "version": version})
        card.write(folder / "src" / "model")
        return folder / "src" / "model"

    def hang(self, version: int, use_case: UseCase = USE_CASE) -> None:
        """A Bento whose model never comes to be loaded."""
        folder = self.copy(version, 1, use_case)
        (folder / "model.pkl").write_bytes(cloudpickle.dumps(_Hangs()))
        found = file_sha256(folder / "model.pkl")
        update = {"use_case": use_case.slug, "version": version, "model_sha256": found}
        self.cards[1].model_copy(update=update).write(folder)

    def promote(self, version: int, use_case: UseCase = USE_CASE, **evidence: str) -> float:
        """Makes a version the champion, with the hash of its Bento as it is now; when that was."""
        folder = bento_folder(self.settings, f"{use_case.bento}:v{version}")
        evidence = {"bento_sha256": bento_sha256(folder), **evidence}
        database.ensure_ops(self.url)
        database.query(
            self.url,
            "insert into ops.promotions (use_case, alias, to_version, bento, actor, reason, evidence)"
            " values (%s, 'champion', %s, %s, 'a tester', '', %s)",
            (use_case.slug, version, f"{use_case.bento}:v{version}", json.dumps(evidence)),
        )
        return time.monotonic()

    def serve(self, **settings: str) -> subprocess.Popen[bytes]:
        """The service in a process of its own, as a person starts it."""
        environment = os.environ | {
            "HEADWATER_HOME": str(self.settings.home),
            "HEADWATER_DATABASE_URL": self.url,
            "HEADWATER_SERVING_URL": self.base,
            "HEADWATER_SERVING_WORKERS": str(self.settings.serving_workers),
            **settings,
        }
        command = [sys.executable, "-m", "headwater", "serve"]
        with (self.settings.home / "supervisor.log").open("ab") as log:
            process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        try:
            self.wait(lambda: httpx.get(f"{self.base}/livez", timeout=30).status_code == 200, process)
        except BaseException:
            end(process, 30)
            raise
        return process

    def wait(self, is_so: Callable[[], bool], process: subprocess.Popen[bytes] | None = None, most: float = 90) -> None:
        """Returns when it is so."""
        until = time.monotonic() + most
        while True:
            assert process is None or process.poll() is None, (self.settings.home / "supervisor.log").read_text()
            try:
                if is_so():
                    return
            except httpx.HTTPError:
                pass
            assert time.monotonic() < until, httpx.get(f"{self.base}/readyz", timeout=30).text
            time.sleep(0.1)

    def workers(self) -> list[psutil.Process]:
        """The worker processes of this service."""
        return [one for one in psutil.process_iter(["cmdline"]) if self._is_worker(one)]

    def _is_worker(self, one: psutil.Process) -> bool:
        if not any(part.endswith("serving/worker.py") for part in one.info["cmdline"] or []):
            return False
        return one.environ().get("HEADWATER_HOME") == str(self.settings.home)

    def ledger(self, use_case: UseCase = USE_CASE) -> list[dict[str, Any]]:
        """What the service has told the ledger, the newest first."""
        sql = "select state, seconds, detail from ops.ledger where step = 'serve' and use_case = %s order by at desc"
        return database.query(self.url, sql, (use_case.slug,))


class _Hangs:
    def __reduce__(self) -> tuple[Any, tuple[float]]:
        return time.sleep, (600.0,)


def make_world(postgres_url: str, home: Path, workers: int = 1) -> World:
    """Features in a database of their own, and the Bentos of two versions that answer differently."""
    settings = Settings(
        home=home,
        database_url=SecretStr(new_database(postgres_url)),
        serving_url=f"http://127.0.0.1:{free_port()}",
        serving_workers=workers,
    )
    world = World(settings, made_up_features())
    load(world.url, world.features)
    world.fit(1, 1.0)
    world.fit(2, 3.0)
    return world


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ends a service."""
    end(process, 30)
