"""The pictures of the pages in docs/images: `make screenshots`.

A stack of its own gets years of every use case, a champion trained before the sandbox's world changes, and a year of
forecasts and drift windows; then Airflow ingests the newest day of each again and trains a challenger, which waits for
a person. A browser photographs the pages. `--home` keeps the stack's data, and a second run starts from it.
"""

from __future__ import annotations

import argparse
import base64
import io
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from integration import filled
from integration.browser import browser, log_in, seen
from PIL import Image

from headwater.stack import control
from headwater.stack.airflow import Airflow
from headwater.stack.postgres import Cluster
from models.champion import find_champion
from models.snapshot import Extent
from pipelines import drift_log
from pipelines.registry import get_use_case, use_cases
from pipelines.schedule import newest_over, window_of
from pipelines.settings import PROJECT, get_settings
from pipelines.spec import UseCase
from sandbox.simulation import DRIFT_START

IMAGES = PROJECT / "docs" / "images"
WIDE, PHONE, MARGIN = 1180, 390, 20
YEAR = 365
DAYS = {"flood": 4 * YEAR, "equities": 2 * YEAR, "churn": 2 * YEAR, "taxi": YEAR}
"""Of each use case, the newest so many days are brought in."""
CANDIDATES = {"flood": "boosting", "equities": "boosting", "churn": "boosting", "taxi": "boosting"}
SERVICES = ("sandbox", "mlflow", "airflow-scheduler", "airflow-dag-processor", "airflow-triggerer")
SHOWN = "flood"
PICTURES = (
    ("overview", "", "light", WIDE, 1100),
    ("overview-phone", "", "dark", PHONE, 900),
    ("forecasts", f"forecasts/{SHOWN}", "light", WIDE, 1250),
    ("drift", f"drift/{SHOWN}", "light", WIDE, 1300),
    ("drift-window", f"drift/{SHOWN}/{{window}}", "light", WIDE, 1250),
    ("models", f"models/{SHOWN}", "dark", WIDE, 1150),
    ("data", "data/equities", "light", WIDE, 1200),
    ("costs", "costs", "light", WIDE, 900),
)
"""Name of the file, path of the page, its colours, its width, and the most of its height in px."""


def say(*told: object) -> None:
    """A line on what goes on."""
    sys.stdout.write(" ".join(str(one) for one in told) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Fills the stack, takes the pictures, and ends it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, help="where the stack keeps its data; by default it is deleted")
    asked = parser.parse_args()
    with _stack(asked.home) as home:
        control.up(say, services=SERVICES, timeout_s=600)
        for use_case in use_cases().values():
            if find_champion(use_case, get_settings()) is None:
                _fill(use_case)
        with Airflow() as airflow:
            airflow.wait_for_dags({case.dag_id("ingest") for case in use_cases().values()}, timeout_s=600)
            for use_case in use_cases().values():
                _run(airflow, use_case)
            _ask(airflow, get_use_case(SHOWN))
        with tempfile.TemporaryDirectory() as profile, browser(Path(profile)) as driver:
            log_in(driver, get_settings().airflow_url, home)
            _photograph(driver)


@contextmanager
def _stack(home: Path | None) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        chosen = (home or Path(folder) / "home").resolve()
        os.environ["HEADWATER_HOME"] = str(chosen)
        get_settings.cache_clear()
        try:
            yield chosen
        finally:
            control.down()
            if home is None:
                Cluster(chosen).destroy()


def _fill(use_case: UseCase) -> None:
    """History, a champion of before the change, a year of answers and windows."""
    say("filling", use_case.slug)
    window = filled.bring(use_case, DAYS[use_case.slug])
    until = min(DRIFT_START, window.end) - timedelta(days=1)
    filled.champion(use_case, CANDIDATES[use_case.slug], Extent(until=until))
    filled.scored(use_case, YEAR)
    ends = _windows(use_case)
    say(len(ends), "windows of drift")
    filled.look(use_case, ends)


def _windows(use_case: UseCase) -> list[date]:
    """Ends of windows: of those of a month its last day, of others every four weeks, and the newest three."""
    end = filled.newest_features(use_case)
    if use_case.period == "month" or use_case.features_on == "month_end":
        firsts = {(end - timedelta(days=at)).replace(day=1) for at in range(YEAR)}
        return sorted({first - timedelta(days=1) for first in firsts} | {end})
    return sorted(end - timedelta(days=at) for at in (*range(0, YEAR, 28), 1, 2))


def _run(airflow: Airflow, use_case: UseCase) -> None:
    """The newest day again, by Airflow: its tasks leave their costs."""
    dag_id = use_case.dag_id("ingest")
    airflow.unpause(dag_id)
    key = str(window_of(use_case, newest_over(use_case, datetime.now(UTC))).start)
    filled.await_task(airflow, dag_id, airflow.trigger(dag_id, partition_key=key), "profile", "success")


def _ask(airflow: Airflow, use_case: UseCase) -> None:
    """A challenger that waits for a person."""
    dag_id = use_case.dag_id("train")
    airflow.unpause(dag_id)
    waiting = [run for run in airflow.pages(f"/dags/{dag_id}/dagRuns", "dag_runs") if run["state"] == "running"]
    run_id = waiting[0]["dag_run_id"] if waiting else airflow.trigger(dag_id, conf={"ask": True})
    filled.await_task(airflow, dag_id, run_id, "approve", "awaiting_input")


def _photograph(driver: Any) -> None:
    pages = f"{get_settings().airflow_url}/headwater"
    drifted = [one for one in drift_log.windows(get_settings(), SHOWN, limit=YEAR) if one["verdict"] == "drift"]
    window = (drifted or drift_log.windows(get_settings(), SHOWN, limit=1))[0]["window_end"]
    for name, path, scheme, width, height in PICTURES:
        shows = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", shows)
        screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width == PHONE}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
        driver.get(f"{pages}/{path.format(window=window)}")
        seen(driver, "//main//h1")
        # An exchange's calendar is, of its website
        while "is being asked" in driver.find_element("xpath", "//main").text:
            time.sleep(1)
            driver.refresh()
        bottom = driver.execute_script(
            "return Math.ceil((document.querySelector('footer') || document.body).getBoundingClientRect().bottom)"
        )
        height = min(height, bottom + MARGIN)
        clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
        shot = driver.execute_cdp_cmd("Page.captureScreenshot", {"format": "png", "clip": clip})
        picture = Image.open(io.BytesIO(base64.b64decode(shot["data"]))).convert("RGB")
        kept = IMAGES / f"page-{name}.png"
        picture.quantize(128, dither=Image.Dither.NONE).save(kept, optimize=True)
        say(f"{kept.relative_to(PROJECT)}: {width} × {height}, {kept.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
