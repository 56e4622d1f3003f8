"""What the page of models says of each version, by the moves of aliases."""

from __future__ import annotations

from headwater_ui.queries.models import versions


def move(alias: str, before: int | None, after: int | None, bento: str | None = None) -> dict[str, object]:
    return {"alias": alias, "from_version": before, "to_version": after, "bento": bento, "at": None,
            "reason": "", "evidence": {}}  # fmt: skip


def test_versions_are_told_apart_by_what_became_of_them() -> None:
    newest_first = [
        move("challenger", 3, 4),
        move("challenger", 3, None),
        move("champion", 2, 9),  # in MLflow itself: without a Bento it is not served
        move("champion", 1, 2, "b:2"),
        move("challenger", 2, 3),
        move("challenger", 1, 2),
        move("champion", None, 1, "b:1"),
        move("challenger", None, 1),
    ]
    found = {one["version"]: one["state"] for one in versions(newest_first, {})}
    assert found == {1: "former champion", 2: "champion", 3: "rejected", 4: "challenger", 9: ""}


def test_a_champion_that_was_rolled_back_from_is_no_challenger_that_waits() -> None:
    newest_first = [
        move("champion", 2, 1, "b:1"),
        move("champion", 1, 2, "b:2"),
        move("challenger", 1, 2),
        move("champion", None, 1, "b:1"),
        move("challenger", None, 1),
    ]
    found = {one["version"]: one["state"] for one in versions(newest_first, {})}
    assert found == {1: "champion", 2: "former champion"}
