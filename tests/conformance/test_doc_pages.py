"""A use case has a page for people, which names the history that it reads from files."""

from __future__ import annotations

import re

from conformance.cases import each_case

from pipelines import registry
from pipelines.settings import PROJECT
from pipelines.spec import UseCase


@each_case
def test_a_use_case_has_a_page_with_what_it_can_do(case: UseCase) -> None:
    page = (PROJECT / "docs" / f"{case.slug}.md").read_text("utf-8")
    assert page.startswith("# ")
    assert f"headwater bootstrap {case.slug}" in page
    unnamed = [kind for kind in registry.part(case, "source").RECORDED if f"--{kind}" not in page]
    assert unnamed == [], "the page does not say how this history is brought in"


@each_case
def test_the_commands_of_a_page_name_no_other_use_case(case: UseCase) -> None:
    page = (PROJECT / "docs" / f"{case.slug}.md").read_text("utf-8")
    named = re.findall(r"headwater (?:run|bootstrap|train|predict|backfill|recompute|rebuild|ledger) (\w+)", page)
    assert set(named) <= {case.slug}
