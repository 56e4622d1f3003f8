"""A training run says what it was made of: its rows, its code, and the environment that it belongs to."""

from __future__ import annotations

from models.snapshot import Snapshot
from models.train import _tags
from pipelines.settings import Settings


def test_a_run_is_tagged_with_its_snapshot_the_code_and_the_environment() -> None:
    taken = Snapshot("flood", 3, 20, "", "2020-01-01", "2020-01-10", "2020-01-07", 1, "all")
    tags = _tags(taken, Settings(env="staging"))
    assert tags["env"] == "staging"
    assert tags["commit"]
    assert Snapshot.from_tags(tags) == taken
