"""NSE's two hosts: the archive of daily files, and the website with its notices of corporate actions.

As upstream: the archive answers 404, in HTML, for a weekend, a holiday and a day whose file is not there yet; a day's
file appears at 18:00 in Kolkata; the website gives a cookie to whoever comes to its front page, and its dates are
DD-MM-YYYY. Unlike upstream, neither asks for a browser's headers nor for the cookie.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from sandbox.nse.actions import ANNOUNCED_DAYS, notices
from sandbox.nse.archive import Layout, body_of, path_of
from sandbox.nse.calendar import session_before
from sandbox.nse.market import market_of
from sandbox.simulation import World, utc_today
from sandbox.wire import LAG_KEY, state_of, today_of

_ARCHIVES, _WEBSITE = "/nse-archives", "/nse-website"
_NOT_FOUND = "<!DOCTYPE html><html><head><title>404 Not Found</title></head><body><h1>Not Found</h1></body></html>"
_KOLKATA_AT_18 = timedelta(hours=18) - timedelta(hours=5, minutes=30)


def newest_day(moment: datetime) -> date:
    """The newest day whose files can be there at a moment in UTC."""
    return (moment - _KOLKATA_AT_18).date()


def _published_until(world: World) -> date:
    # A clock that tells days only stands at the evening of its day
    return newest_day(datetime.now(UTC)) if world.clock is utc_today else world.clock()


async def legacy(request: Request) -> Response:
    """The bhavcopy of the format that ended on 5 July 2024."""
    return _file(request, "legacy", "%d%b%Y")


async def udiff(request: Request) -> Response:
    """The bhavcopy in the format of 2024."""
    return _file(request, "udiff", "%Y%m%d")


async def delivery(request: Request) -> Response:
    """Prices with deliveries."""
    return _file(request, "delivery", "%d%m%Y")


def _file(request: Request, layout: Layout, form: str) -> Response:
    """The file asked for; an upstream that is made stale serves an older session's under its name."""
    try:
        day = datetime.strptime(request.path_params["day"], form).date()  # noqa: DTZ007 - a day, not a moment
    except ValueError:
        return HTMLResponse(_NOT_FOUND, 404)
    if request.url.path != _ARCHIVES + path_of(layout, day):
        return HTMLResponse(_NOT_FOUND, 404)
    lag = int(request.scope.get(LAG_KEY, 0))
    held = session_before(day - timedelta(days=lag - 1)) if lag else day
    world = state_of(request).world
    body = body_of(market_of(world), layout, held, _published_until(world))
    if body is None:
        return HTMLResponse(_NOT_FOUND, 404)
    return Response(body, media_type="text/csv" if layout == "delivery" else "application/zip")


async def front_page(request: Request) -> Response:
    """The website's first page, which gives the cookie that the live site asks for afterwards."""
    answer = HTMLResponse("<!DOCTYPE html><html><head><title>NSE</title></head><body></body></html>")
    answer.set_cookie("nsit", "sandbox", httponly=True)
    return answer


async def corporate_actions(request: Request) -> Response:
    """The notices with ex-dates from `from_date` to `to_date`; without them, those that are still to come."""
    params, today = request.query_params, today_of(request)
    try:
        start = _day(params.get("from_date"), today)
        end = _day(params.get("to_date"), today + timedelta(days=ANNOUNCED_DAYS))
    except ValueError:
        return JSONResponse({"error": "Bad Request", "message": "Dates must be DD-MM-YYYY"}, 400)
    return JSONResponse(notices(params.get("index", "equities"), start, end, today))


def _day(text: str | None, default: date) -> date:
    return default if text is None else datetime.strptime(text, "%d-%m-%Y").date()  # noqa: DTZ007 - a day


ROUTES = (
    Route(f"{_ARCHIVES}/content/historical/EQUITIES/{{year}}/{{month}}/cm{{day}}bhav.csv.zip", legacy),
    Route(f"{_ARCHIVES}/content/cm/BhavCopy_NSE_CM_0_0_0_{{day}}_F_0000.csv.zip", udiff),
    Route(f"{_ARCHIVES}/products/content/sec_bhavdata_full_{{day}}.csv", delivery),
    Route(f"{_WEBSITE}/", front_page),
    Route(f"{_WEBSITE}/api/corporates-corporateActions", corporate_actions),
)
