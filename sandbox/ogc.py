"""Paging of an OGC API collection: limit, offset or cursor, and the links from page to page."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

from starlette.requests import Request

from sandbox.wire import BadRequestError, words

DEFAULT_LIMIT, LARGEST_LIMIT = 10, 50_000
Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of the matching items is asked for, and in which dress."""

    limit: int
    offset: int
    after: str | None
    skip_geometry: bool
    fields: tuple[str, ...]

    def cut(self, rows: Sequence[Row], key: Callable[[Row], str]) -> tuple[Sequence[Row], str | None]:
        """This page of rows sorted by `key`, and the cursor of the next one if there is one."""
        after = self.after
        rest = rows if after is None else [row for row in rows if key(row) > after]
        chosen = rest[self.offset : self.offset + self.limit]
        more = len(rest) > self.offset + self.limit
        return chosen, base64.b64encode(key(chosen[-1]).encode()).decode() if more else None


def page_of(request: Request, known: set[str]) -> Page:
    """The page that a request asks for; BadRequestError for what the upstream refuses."""
    params = request.query_params
    unknown = sorted(set(params) - known)
    if unknown:
        raise BadRequestError(f"unknown query parameter: {', '.join(unknown)}")
    if params.get("f", "json") not in ("json", "geojson"):
        raise BadRequestError("Invalid format requested")
    return Page(
        limit=_limit(params.get("limit")),
        offset=_whole("offset", params.get("offset", "0"), least=0),
        after=_after(params.get("cursor")),
        skip_geometry=params.get("skipGeometry", "false").lower() == "true",
        fields=tuple(words(request, "properties")),
    )


def select_fields(page: Page, properties: dict[str, Any]) -> dict[str, Any]:
    """The properties asked for; all of them if none was named."""
    unknown = set(page.fields) - set(properties)
    if unknown:
        raise BadRequestError("unknown properties specified")
    return {name: value for name, value in properties.items() if not page.fields or name in page.fields}


def collection(request: Request, page: Page, features: list[dict[str, Any]], following: str | None) -> dict[str, Any]:
    """The FeatureCollection of a page."""
    links = []
    if following is not None:
        further = request.url.remove_query_params("offset").include_query_params(cursor=following, limit=page.limit)
        links.append(_link("next", "application/geo+json", "Items (next)", str(further)))
    links.append(_link("self", "application/geo+json", "This document as GeoJSON", str(request.url)))
    return {
        "type": "FeatureCollection",
        "features": features,
        "numberReturned": len(features),
        "links": links,
        "timeStamp": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
    }


def _link(rel: str, kind: str, title: str, href: str) -> dict[str, str]:
    return {"type": kind, "rel": rel, "title": title, "href": href}


def _limit(text: str | None) -> int:
    if text is None:
        return DEFAULT_LIMIT
    limit = _whole("limit", text, least=1)
    if limit > LARGEST_LIMIT:
        raise BadRequestError(f"Limit of {LARGEST_LIMIT} exceeded")
    return limit


def _whole(name: str, text: str, *, least: int) -> int:
    try:
        number = int(text)
    except ValueError:
        raise BadRequestError(f"{name} value should be an integer") from None
    if number < least:
        raise BadRequestError(f"{name} value should be at least {least}")
    return number


def _after(cursor: str | None) -> str | None:
    try:
        return None if cursor is None else base64.b64decode(cursor, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise BadRequestError("cursor is invalid") from None
