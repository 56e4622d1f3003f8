"""A version made champion without its Bento, where no server is to be asked."""

from __future__ import annotations

from typing import Any

from models import artifacts, history, tracking
from pipelines.settings import Settings
from pipelines.spec import UseCase


def crown(use_case: UseCase, settings: Settings, selected: dict[str, Any]) -> None:
    """Makes the version that `selection.select` gave the champion."""
    version = int(selected["version"])
    sha256 = artifacts.model_sha256(settings, selected["model_uri"])
    tracking.client(settings).set_model_version_tag(use_case.experiment, str(version), "model.sha256", sha256)
    evidence = {"model_sha256": sha256}
    history.move(
        use_case, settings, tracking.CHAMPION, version, actor="a tester", reason="", evidence=evidence, bento="none"
    )  # fmt: skip
