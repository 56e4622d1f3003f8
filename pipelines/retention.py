"""Retention: what a layer has kept long enough goes to the archive, is read back, and only then is deleted.

A run that is cut off anywhere may be repeated: what is in the archive already is verified instead of written.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta

from pipelines.archive import write_manifest
from pipelines.errors import SettingsError
from pipelines.ledger import code_version
from pipelines.retention_landing import LandingLayer
from pipelines.retention_layers import FeaturesLayer, Item, Layer, NormalizedLayer
from pipelines.retention_log import RequestLogLayer
from pipelines.settings import Settings
from pipelines.spec import UseCase
from pipelines.storage import Store


@dataclass(frozen=True, slots=True)
class Archived:
    """What one layer gave up, and the manifest in the archive that lists it."""

    items: list[Item]
    manifest: str


def layers(use_case: UseCase, settings: Settings, today: date | None = None) -> list[tuple[Layer, date]]:
    """The layers of a use case, each with the first day that it keeps."""
    today = today or datetime.now(UTC).date()
    kept = use_case.retention
    landing, normalized, features, request_log = (
        today - timedelta(days=days)
        for days in (kept.landing_days, kept.normalized_days, kept.features_days, kept.request_log_days)
    )
    return [
        (LandingLayer(settings.lake, use_case, landing, today), landing),
        (NormalizedLayer(settings.lake, use_case, normalized, today), normalized),
        (FeaturesLayer(settings.require_database(), use_case, features), features),
        (RequestLogLayer(settings.require_database(), use_case, request_log), request_log),
    ]


def plan(use_case: UseCase, settings: Settings, today: date | None = None) -> list[Item]:
    """What would go, of every layer.

    Raises:
        StorageError: the lake cannot be used.
        DatabaseError: Postgres cannot be reached.
    """
    with settings.lake.guard():
        return [item for layer, _ in layers(use_case, settings, today) for item in layer.items()]


def apply(
    use_case: UseCase,
    settings: Settings,
    archive: Store,
    today: date | None = None,
    on_step: Callable[[str], None] = lambda said: None,
) -> list[Archived]:
    """Archives and deletes what is too old.

    Raises:
        SettingsError: the archive lies in the lake.
        StorageError: the lake or the archive cannot be used, or does not give back what was written; of that layer
            nothing was deleted.
        DatabaseError: Postgres cannot be reached.
    """
    _refuse_nested(settings.lake, archive)
    done = []
    with settings.lake.guard():
        for layer, cutoff in layers(use_case, settings, today):
            with layer.held():
                archived = _apply(layer, use_case, cutoff, archive, on_step)
            if archived is not None:
                done.append(archived)
    return done


def _apply(
    layer: Layer, use_case: UseCase, cutoff: date, archive: Store, on_step: Callable[[str], None]
) -> Archived | None:
    items = layer.items()
    if not items:
        return None
    kept = []
    for item in items:
        kept += list(layer.keep(item, archive))
        on_step(f"{use_case.slug} {layer.name} {item.dataset} {item.part}: archived and read back")
    about = {"before": str(cutoff), "code_version": code_version(), "items": [_listed(item) for item in items]}
    manifest = write_manifest(archive, use_case.slug, layer.name, kept, about)
    layer.delete(items)
    on_step(f"{use_case.slug} {layer.name}: deleted; {manifest}")
    return Archived(items, manifest)


def _listed(item: Item) -> dict[str, object]:
    return asdict(item) | {"days": str(item.days)}


def _refuse_nested(lake: Store, archive: Store) -> None:
    first, second = f"{lake.url}/", f"{archive.url}/"
    if first.startswith(second) or second.startswith(first):
        raise SettingsError(f"The archive {archive} and the lake {lake} lie in one another; name another place.")
