"""`headwater new`: the files of a new use case."""

from __future__ import annotations

from typing import Annotated

import typer

from headwater.console import out

Slug = Annotated[str, typer.Argument(metavar="SLUG", help="Its name everywhere, such as river_levels.")]
Title = Annotated[str | None, typer.Option("--title", metavar="TEXT", help="Its name for people.", show_default=False)]
Owner = Annotated[str, typer.Option("--owner", metavar="NAME", help="Who answers for it; the owner of its DAGs.")]


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(new)


def new(slug: Slug, title: Title = None, owner: Owner = "data") -> None:
    """Write the files of a new use case: a small one that works, to be made yours part by part.

    docs/add-a-use-case.md walks through it.

    Example: headwater new river_levels --title "River levels" --owner hydrology
    """
    from headwater import scaffold

    for path in scaffold.write(slug, title or slug.replace("_", " ").capitalize(), owner):
        out.print(path, soft_wrap=True, markup=False)
    out.print(
        "\nNext: fill in the contract in spec.py, source.py with its sandbox, the SQL and model.py; then\n"
        "  headwater contracts write && headwater contracts release\n"
        f"  .venv/bin/pytest tests/conformance tests/unit/{slug}\n"
        "docs/add-a-use-case.md has each step.",
        soft_wrap=True,
        markup=False,
    )
