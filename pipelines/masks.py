"""What no log may show: the secrets of the settings and of the environment, for whoever masks them there."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import unquote

from pydantic import SecretStr

from pipelines.settings import Settings

LEAST = 6
"""Letters; what is shorter would be masked in half of all words."""
_NAMES = ("_PASSWORD", "_KEY", "_SECRET", "_TOKEN")
"""What the name of a variable ends with whose value is a secret."""
_OPEN = ("url", "urls", "region", "allow_http", "_id", "_name")
"""And that of a secret setting of whose value only what is secret within it is one; logs speak of the rest."""
_PASSWORD = re.compile(r"://[^\s:/@\"']*:([^\s/@\"']+)@|\bpassword=([^\s&\"']+)")
"""In an address, or as libpq takes it."""


def of_environment(environment: Mapping[str, str]) -> list[str]:
    """The values of variables that are named as secrets, and the passwords within those of all others."""
    found: set[str] = set()
    for name, value in environment.items():
        found |= {value} if name.upper().endswith(_NAMES) else _passwords(value)
    return _long(found)


def of_settings(settings: Settings) -> list[str]:
    """Every secret of the settings, and the passwords within addresses, also as they are when they are not quoted."""
    found: set[str] = set()
    for name, value in _values(settings):
        text = value.get_secret_value() if isinstance(value, SecretStr) else value
        found |= _passwords(text)
        if isinstance(value, SecretStr) and _is_secret(name, text):
            found.add(text)
    return _long(found)


def _values(settings: Settings) -> Iterator[tuple[str, SecretStr | str]]:
    """Of a mapping, the options by their own names, and addresses by that of the setting."""
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        for part, one in value.items() if isinstance(value, dict) else ((name, value),):
            if isinstance(one, SecretStr | str):
                yield (name if name.endswith("_urls") else part), one


def _is_secret(name: str, text: str) -> bool:
    """An address is one as a whole where somebody's name or a query is in it, which may be a token."""
    if "://" in text:
        return "@" in text or "?" in text
    return not name.lower().endswith(_OPEN)


def _passwords(text: str) -> set[str]:
    found = {part for match in _PASSWORD.finditer(text) for part in match.groups() if part}
    return found | {unquote(part) for part in found}


def _long(found: Iterable[str]) -> list[str]:
    return sorted(one for one in found if len(one) >= LEAST)
