"""A new use case: the files of `templates/use_case`, with its slug and title in them."""

from __future__ import annotations

import keyword
import re
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from pipelines.errors import SettingsError
from pipelines.registry import use_cases
from pipelines.settings import PROJECT

TEMPLATES = Path(__file__).parent / "templates" / "use_case"
SUFFIX = ".tmpl"
LONGEST_SLUG = 30
LONGEST_TITLE = 50
_SLUG = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", re.ASCII)
_TITLE = re.compile(r"[^\W_][\w .,;:()&+/'’–-]*")
_OWNER = re.compile(r"[a-z][a-z0-9_-]*", re.ASCII)
_SCHEMAS = {"ops", "serving", "extracts", "public", "information_schema"}
_RESERVED = (
    "all analyse analyze and any array as asc asymmetric authorization binary both case cast check collate "
    "collation column concurrently constraint create cross current_catalog current_date current_role current_schema "
    "current_time current_timestamp current_user default deferrable desc distinct do else end except false fetch "
    "for foreign freeze from full grant group having ilike in initially inner intersect into is isnull join lateral "
    "leading left like limit localtime localtimestamp natural not notnull null offset on only or order outer "
    "overlaps placing primary references returning right select session_user similar some symmetric system_user "
    "table tablesample then to trailing true union unique user using variadic verbose when where window with"
)
"""Words that Postgres does not take as the name of a schema without quotes (its appendix C)."""
RESERVED = frozenset(_RESERVED.split())


def require_slug(slug: str) -> None:
    """Whether a use case may be called that: the slug is a schema, a Python package, a DAG's and a Bento's name.

    Raises:
        SettingsError: it may not.
    """
    if not _SLUG.fullmatch(slug) or len(slug) > LONGEST_SLUG:
        raise SettingsError(
            f"{slug!r} is no slug; write it in small letters, digits and single underscores, a letter first, in at "
            f"most {LONGEST_SLUG} characters, such as river_levels."
        )
    if slug in RESERVED or keyword.iskeyword(slug):
        raise SettingsError(
            f"{slug!r} is a word of SQL or of Python, and cannot be a schema or a package; choose another."
        )
    if slug in _SCHEMAS or slug.startswith(("pg_", "raw_")):
        raise SettingsError(f"{slug!r} is, or may become, another schema of the warehouse; choose another.")
    for other in use_cases():
        if slug == other:
            raise SettingsError(f"There is already a use case {slug!r}; choose another slug.")
        if slug.startswith(f"{other}_") or other.startswith(f"{slug}_"):
            raise SettingsError(
                f"{slug!r} and the use case {other!r} begin alike, and so would their schemas; choose another slug."
            )
    if find_spec(slug) is not None:
        raise SettingsError(
            f"{slug!r} is the name of an installed Python package, which its tests would hide; choose another."
        )


def files(slug: str, title: str, owner: str) -> dict[str, str]:
    """Path in the repository to text, of every file that a use case begins with.

    Raises:
        SettingsError: the title or the owner does not fit into them.
    """
    if not _TITLE.fullmatch(title) or len(title) > LONGEST_TITLE:
        raise SettingsError(
            f"{title!r} is no title; write a few plain words, at most {LONGEST_TITLE} characters, without quotes or "
            "braces."
        )
    if not _OWNER.fullmatch(owner):
        raise SettingsError(f"{owner!r} is no owner; name a team or a person in small letters, such as hydrology.")
    words = {"SLUG": slug, "TITLE": title, "OWNER": owner}
    found = {}
    for path in sorted(TEMPLATES.rglob(f"*{SUFFIX}")):
        name = str(path.relative_to(TEMPLATES)).removesuffix(SUFFIX)
        found[_filled(name, words)] = _filled(path.read_text("utf-8"), words)
    return found


def _filled(text: str, words: Mapping[str, str]) -> str:
    # All at once: a title may hold one of the other words
    return re.sub("|".join(words), lambda match: words[match[0]], text)


def write(slug: str, title: str, owner: str, root: Path = PROJECT) -> list[str]:
    """Writes the files of a new use case, and gives their paths.

    Raises:
        SettingsError: the slug is taken or cannot be one, or a file is already there; nothing was written.
    """
    require_slug(slug)
    texts = files(slug, title, owner)
    if there := [path for path in texts if (root / path).exists()]:
        raise SettingsError(f"There is already {', '.join(there)}; choose another slug. Nothing was written.")
    for path, text in texts.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, "utf-8")
    return list(texts)
