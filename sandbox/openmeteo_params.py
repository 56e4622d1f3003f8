"""The parameters of Open-Meteo's APIs; each reader raises BadRequestError with the upstream's reason."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from starlette.requests import Request

from sandbox.forecasts import LONGEST_LEAD
from sandbox.simulation import date_range
from sandbox.sites import Site
from sandbox.wire import BadRequestError, state_of, words

UNITS = {
    "precipitation_sum": "mm",
    "rain_sum": "mm",
    "snowfall_sum": "cm",
    "temperature_2m_mean": "°C",
    "temperature_2m_max": "°C",
    "temperature_2m_min": "°C",
}
FORECAST_PAST_DAYS = 92
_GRID_DEGREES = 0.0703


@dataclass(frozen=True, slots=True)
class Span:
    """The days an API knows; one that needs dates does not count from today."""

    first: date
    last: date
    needs_dates: bool = False


def variables(request: Request) -> list[str]:
    """The daily variables asked for."""
    names = words(request, "daily")
    for name in names:
        if name not in UNITS:
            raise BadRequestError(f"Cannot initialize WeatherVariable from invalid String value {name} for key daily")
    return names


def coordinates(request: Request) -> list[tuple[float, float]]:
    """Latitude and longitude of each place asked for, in degrees."""
    latitudes, longitudes = _numbers(request, "latitude", 90.0), _numbers(request, "longitude", 180.0)
    if len(latitudes) != len(longitudes):
        raise BadRequestError("Parameter 'latitude' and 'longitude' must have the same number of elements")
    return list(zip(latitudes, longitudes, strict=True))


def _numbers(request: Request, name: str, largest: float) -> list[float]:
    try:
        values = [float(word) for word in words(request, name)]
    except ValueError:
        raise BadRequestError(f"Data corrupted at path '{name}'. Expected a number") from None
    if not values:
        raise BadRequestError(f"Parameter '{name}' and others are required. Value is missing for '{name}'")
    for value in values:
        if not abs(value) <= largest:
            raise BadRequestError(
                f"{name.capitalize()} must be in range of -{largest:g} to {largest:g}°. Given: {value}."
            )
    return values


def days(request: Request, span: Span) -> list[date]:
    """The days asked for, by date or counted from today."""
    params = request.query_params
    if "start_date" not in params and "end_date" not in params and not span.needs_dates:
        today = state_of(request).world.clock()
        back = _count(request, "past_days", 0, FORECAST_PAST_DAYS)
        ahead = _count(request, "forecast_days", 7, LONGEST_LEAD)
        return date_range(today - timedelta(days=back), today + timedelta(days=ahead - 1))
    if "past_days" in params or "forecast_days" in params:
        raise BadRequestError("Parameter 'past_days' is mutually exclusive with 'start_date' and 'end_date'")
    start, end = (_bound(request, name, span) for name in ("start_date", "end_date"))
    if end < start:
        raise BadRequestError("End-date must be larger or equals than start-date")
    return date_range(start, end)


def _bound(request: Request, name: str, span: Span) -> date:
    text = request.query_params.get(name)
    if text is None:
        raise BadRequestError("Both 'start_date' and 'end_date' must be set")
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise BadRequestError("Invalid date format. Make sure to use 'YYYY-MM-DD'") from None
    if not span.first <= day <= span.last:
        raise BadRequestError(f"Parameter '{name}' is out of allowed range from {span.first} to {span.last}")
    return day


def _count(request: Request, name: str, default: int, largest: int) -> int:
    text = request.query_params.get(name, str(default))
    if not text.isdecimal() or int(text) > largest:
        raise BadRequestError(f"{name} is invalid. Allowed range 0 to {largest}. Given {text}.")
    return int(text)


def zone(name: str, site: Site) -> tuple[str, int, str]:
    """Name, present offset in seconds and abbreviation (`GMT-5`) of a zone; `auto` is the place's own."""
    name = site.timezone if name == "auto" else name
    try:
        moment = datetime.now(ZoneInfo(name))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise BadRequestError("Invalid timezone") from None
    offset = moment.utcoffset() or timedelta(0)
    seconds = int(offset.total_seconds())
    hours, minutes = divmod(abs(seconds) // 60, 60)
    sign = "-" if seconds < 0 else "+"
    tail = f"{sign}{hours}" + (f":{minutes:02d}" if minutes else "") if seconds else ""
    return name, seconds, f"GMT{tail}"


def snapped(degrees: float) -> float:
    """The nearest point of the weather model's grid."""
    return round(round(degrees / _GRID_DEGREES) * _GRID_DEGREES, 5)
