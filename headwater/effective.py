"""The settings that are in effect: each with where it comes from, and without its secrets."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import SecretStr

from pipelines.settings import PREFIX, Layer, Settings, layers, read_settings
from pipelines.settings_errors import refusals

HIDDEN = "***"
_URL = re.compile(r"([A-Za-z][\w+.-]*://)(?:(.*)@)?([^?#]*)(.*)", re.DOTALL)
_HERE = ("127.", "localhost", "[::1]")
_HARMLESS = {"sslmode", "application_name", "connect_timeout", "target_session_attrs"}
"""Names in the query of an address whose values tell no secret."""
_OPEN = ("url", "urls", "region", "allow_http")
"""What the name of a secret setting ends with where only the secrets within its value are hidden."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One setting: `value` is as it may be shown (None where nothing is set), `is_whole` whether nothing is hidden.

    `given` is the key that set it: a mapping may also be given whole, as JSON.
    """

    key: str
    value: str | None
    origin: str = "default"
    given: str | None = None
    is_whole: bool = True


@dataclass(frozen=True, slots=True)
class Effective:
    """All settings, and what prod refuses of them, a sentence each."""

    settings: Settings
    entries: list[Entry]
    refused: list[str]


def effective() -> Effective:
    """The settings of this process as they stand now.

    Raises:
        SettingsError: a key is unknown, or a value cannot be used.
    """
    found = layers()
    settings = read_settings(found)
    return Effective(settings, list(_entries(settings, found)), refusals(settings))


def _entries(settings: Settings, found: list[Layer]) -> Iterator[Entry]:
    for name in type(settings).model_fields:
        value, key = getattr(settings, name), f"{PREFIX}{name.upper()}"
        if not isinstance(value, dict):
            yield _entry(name, value, found, key)
        elif not value:
            yield Entry(key, None)
        else:
            for part, one in sorted(value.items()):
                is_address = name.endswith("_urls")
                yield _entry(name if is_address else part, one, found, f"{key}__{part.upper()}", key)


def _entry(name: str, value: object, found: list[Layer], *keys: str) -> Entry:
    given, origin = next(
        ((key, layer.where) for key in keys for layer in found if layer.values.get(key)), (None, "default")
    )
    if value is None:
        return Entry(keys[0], None, origin, given)
    text = value.get_secret_value() if isinstance(value, SecretStr) else str(value)
    if "://" in text or (isinstance(value, SecretStr) and name.lower().endswith(_OPEN)):
        shown = masked(text)
    else:
        shown = HIDDEN if isinstance(value, SecretStr) else text
    return Entry(keys[0], shown, origin, given, is_whole=shown == text)


def masked(text: str) -> str:
    """An address or a path without its secrets: passwords, tokens, and what the query of an address says.

    What has no `://` and names values (`host=... password=...`, as libpq takes it) is hidden whole.
    """
    parts = _URL.fullmatch(text)
    if parts is None:
        return HIDDEN if "=" in text else text
    scheme, account, place, tail = parts.groups()
    if account is not None:
        user, colon, _ = account.partition(":")
        is_name = colon or scheme.startswith("postgres")
        account = (user if is_name else HIDDEN) + (f":{HIDDEN}" if colon else "") + "@"
    return scheme + (account or "") + place + re.sub(r"([?&;#])([^=&;#]*)(=?)([^&;#]*)", _without_value, tail)


def is_here(address: str) -> bool:
    """Whether an address is of this machine's loopback interface."""
    parts = _URL.fullmatch(address)
    return parts is not None and parts[3].startswith(_HERE)


def _without_value(part: re.Match[str]) -> str:
    sign, name, equals, value = part.groups()
    if not equals:
        return f"{sign}{HIDDEN if name else ''}"
    return f"{sign}{name}={value if name.lower() in _HARMLESS else HIDDEN}"
