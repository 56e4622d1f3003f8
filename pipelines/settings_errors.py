"""What is said of a setting that cannot be used."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import TYPE_CHECKING

from pipelines.errors import SettingsError

if TYPE_CHECKING:
    from pipelines.settings import Settings

PREFIX = "HEADWATER_"
_EXAMPLES = {"api_keys": "USGS", "lake_options": "AWS_REGION", "sandbox_databases": "CRM",
             "source_options": "AWS_REGION", "source_urls": "USGS"}  # fmt: skip
"""The settings that are mappings, and a name in each."""


def refuse_unknown(keys: Iterable[str], fields: Iterable[str], where: str) -> None:
    """Names a key that is none of the settings' fields.

    Raises:
        SettingsError: there is one.
    """
    known = sorted(name.upper() for name in fields)
    for key in keys:
        name = key.removeprefix(PREFIX).split("__")[0]
        if key.startswith(PREFIX) and name not in known:
            close = difflib.get_close_matches(name, known, 1)
            hint = (
                f"did you mean {_example(close[0])}?" if close else f"known are: {PREFIX}{f', {PREFIX}'.join(known)}."
            )
            raise SettingsError(f"Unknown setting {key} in {where}; {hint}")


def _example(name: str) -> str:
    return "__".join([f"{PREFIX}{name.upper()}", *filter(None, [_EXAMPLES.get(name.lower())])])


def nameless(name: str) -> SettingsError:
    """That a mapping was set as if it were one value."""
    return SettingsError(
        f"The setting {PREFIX}{name.upper()} cannot be used: give each a name, as in {_example(name)}."
    )


def unreadable(error: Exception) -> SettingsError:
    """The same of one that is not JSON; what pydantic says of it would show the value, which may be a key."""
    return nameless(next((name for name in _EXAMPLES if f'"{name}"' in str(error)), "api_keys"))


def refusals(settings: Settings) -> list[str]:
    """What prod does without, a sentence each: defaults that are only for trying things out."""
    said = []
    if settings.env == "prod" and settings.sources == "sandbox":
        said.append(f"The sandbox's data is invented; set {PREFIX}SOURCES=live.")
    if settings.env == "prod" and settings.database_url is None:
        said.append(f"There is no database, and none is taken from a local stack; set {PREFIX}DATABASE_URL.")
    return said
