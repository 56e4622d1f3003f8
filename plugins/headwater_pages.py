"""Headwater's pages in the Airflow UI: under *Browse*, and as a tab of each DAG and of each run.

Tasks import plugins too, so the application is loaded when it is first asked. It stands behind Airflow's own login
because every one of its routes asks who the user is (`headwater_ui/app.py`): Airflow does not ask for a plugin.
"""

from __future__ import annotations

from typing import Any

from airflow.plugins_manager import AirflowPlugin

PREFIX = "/headwater"


class Pages:
    """The application, imported at its first request."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Hands the request on."""
        from headwater_ui.app import app

        await app(scope, receive, send)


class HeadwaterPages(AirflowPlugin):
    """Makes the application and its places in the UI known to Airflow."""

    name = "headwater_pages"
    fastapi_apps = [{"app": Pages(), "url_prefix": PREFIX, "name": "headwater"}]  # noqa: RUF012 - so the base class
    external_views = [  # noqa: RUF012
        {
            "name": "Headwater",
            "href": f"{PREFIX}/",
            "destination": "nav",
            "category": "browse",
            "url_route": "headwater",
        },
        {
            "name": "Headwater",
            "href": f"{PREFIX}/dag?dag_id={{DAG_ID}}",
            "destination": "dag",
            "url_route": "headwater-dag",
        },
        {
            "name": "Headwater",
            "href": f"{PREFIX}/run?dag_id={{DAG_ID}}&run_id={{RUN_ID}}",
            "destination": "dag_run",
            "url_route": "headwater-run",
        },
    ]
