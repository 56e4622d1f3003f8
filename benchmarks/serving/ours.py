"""Our own service as it is put in front of people: `headwater serve`, validation and request log on."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
from psycopg2.extras import execute_values
from pydantic import SecretStr
from threadpoolctl import threadpool_limits

from benchmarks.server import Server
from benchmarks.serving.contenders import Contender, as_rows, of_predictions
from benchmarks.serving.model import MODEL, USE_CASE, Subject, columns
from benchmarks.serving.processes import Started, running
from headwater.stack.files import free_port
from models import onnx_build
from models.serving.bento import bento_folder, bento_sha256
from models.serving.card import BENTO_FOLDER, Feature, ServingCard, file_sha256, read_card
from models.serving.engine import Engine, load_engine
from models.serving.package import build_bento
from pipelines import database, registry
from pipelines.settings import Settings, get_settings

NAME = "headwater"


@contextmanager
def ours(subject: Subject, server: Server) -> Iterator[Contender]:
    """A Bento of the model is built and promoted in a warehouse, and served by the supervisor with one worker."""
    port, home = free_port(), subject.folder / "home"
    url = f"http://127.0.0.1:{port}"
    known = {"home": home, "database_url": SecretStr(server.url), "serving_url": url}
    settings = get_settings().model_copy(update=known)
    load_features(subject, server.url)
    card = promote(subject, settings, server.url)
    environment = {
        "HEADWATER_HOME": str(home),
        "HEADWATER_DATABASE_URL": server.url,
        "HEADWATER_SERVING_URL": url,
        "HEADWATER_SERVING_WORKERS": "1",
    }
    command = (sys.executable, "-m", "headwater", "serve")
    with running(
        Started(command, subject.folder, port, f"/{USE_CASE.slug}/model", environment), subject.folder / "headwater.log"
    ):
        yield Contender(NAME, port, f"/{USE_CASE.slug}/predict", as_rows, of_predictions, card.tolerance)


def load_features(subject: Subject, url: str) -> None:
    """The feature table, for look-ups."""
    frame = subject.table
    rows = frame.astype(object).where(frame.notna(), None).values.tolist()
    typed = ", ".join(f"{name} {kind}" for name, kind in columns().items())
    key = f"{USE_CASE.entity}, {USE_CASE.day_column}"
    with database.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute(f"create schema {USE_CASE.slug}")
        cursor.execute(f"create table {USE_CASE.feature_table} ({typed}, primary key ({key}))")
        execute_values(cursor, f"insert into {USE_CASE.feature_table} values %s", rows, page_size=1000)
        cursor.execute(f"analyze {USE_CASE.feature_table}")


def promote(subject: Subject, settings: Settings, url: str) -> ServingCard:
    """Builds the Bento, as packaging does, and makes it the champion; gives its card."""
    path = subject.folder / MODEL
    card = ServingCard(
        use_case=USE_CASE.slug, version=1, run_id="benchmark", entity=USE_CASE.entity, day=USE_CASE.day_column,
        feature_table=USE_CASE.feature_table, features=_features(subject),
        outputs=registry.part(USE_CASE, "model").OUTPUTS, title=USE_CASE.title, doc=USE_CASE.doc.strip(),
        model_sha256=file_sha256(path), created_at=datetime.now(UTC),
    )  # fmt: skip
    with TemporaryDirectory(prefix="headwater-engine-") as folder, threadpool_limits(1):
        known, decisions = subject.table[subject.names], registry.part(USE_CASE, "model").decisions
        card = onnx_build.prepare(card, subject.model, known, decisions, Path(folder))
        tag = build_bento(USE_CASE, path, card, beside=Path(folder), settings=settings)
    database.ensure_ops(url)
    database.query(
        url,
        "insert into ops.promotions (use_case, alias, to_version, bento, actor, reason, evidence)"
        " values (%s, 'champion', 1, %s, 'benchmark', 'benchmark', jsonb_build_object('bento_sha256', %s::text))",
        (USE_CASE.slug, tag, bento_sha256(bento_folder(settings, tag))),
    )
    return card


def engine(subject: Subject) -> Engine:
    """What the service answers with, from the Bento."""
    home = get_settings().model_copy(update={"home": subject.folder / "home"})
    folder = bento_folder(home, f"{USE_CASE.bento}:v1") / "src" / BENTO_FOLDER
    return load_engine(folder, read_card(folder))


def _features(subject: Subject) -> tuple[Feature, ...]:
    types = pl.from_pandas(subject.table[subject.names]).schema
    assert all(kind.is_float() for kind in types.values())
    return tuple(
        Feature(name=name, type="float", nullable=name not in USE_CASE.required_features) for name in subject.names
    )
