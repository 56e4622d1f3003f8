"""A real browser without a window, where this machine has one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from headwater.stack.airflow_env import ADMIN
from headwater.stack.config import admin_password

PATIENCE_S = 60
QUIET = (
    "--headless",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-proxy-server",
    "--lang=en",
    "--window-size=1400,1800",
)


def require_browser() -> tuple[str, str]:
    """Where Chromium and its driver are; without them the test is skipped, and says so."""
    found = [shutil.which("chromium"), shutil.which("chromedriver")]
    if not all(found):
        pytest.skip("there is no browser: install Debian's chromium and chromium-driver")
    return str(found[0]), str(found[1])


@contextmanager
def browser(profile: Path) -> Iterator[Any]:
    """A driver of Chromium with an empty profile."""
    from selenium.webdriver import Chrome, ChromeOptions
    from selenium.webdriver.chrome.service import Service

    chromium, driver = require_browser()
    options = ChromeOptions()
    options.binary_location = chromium
    for argument in (*QUIET, f"--user-data-dir={profile}", *(["--no-sandbox"] if os.geteuid() == 0 else [])):
        options.add_argument(argument)
    found = Chrome(options=options, service=Service(driver))
    try:
        yield found
    finally:
        found.quit()


def seen(driver: Any, xpath: str) -> Any:
    """The first element there, once it is shown and can be clicked.

    Raises:
        AssertionError: it is not there in time; says what the page shows instead.
    """
    from selenium.common.exceptions import TimeoutException
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.expected_conditions import element_to_be_clickable
    from selenium.webdriver.support.wait import WebDriverWait

    try:
        return WebDriverWait(driver, PATIENCE_S).until(element_to_be_clickable((By.XPATH, xpath)))
    except TimeoutException as error:
        shown = driver.find_element(By.TAG_NAME, "body").text
        raise AssertionError(f"{xpath} is not on {driver.current_url}, which shows:\n{shown[:2000]}") from error


def gone(driver: Any, xpath: str) -> None:
    """Waits until nothing is there.

    Raises:
        AssertionError: something is there still; says what.
    """
    from selenium.common.exceptions import TimeoutException
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.wait import WebDriverWait

    try:
        WebDriverWait(driver, PATIENCE_S).until(lambda page: not page.find_elements(By.XPATH, xpath))
    except TimeoutException as error:
        shown = driver.find_element(By.XPATH, xpath).text
        raise AssertionError(f"{xpath} is still there: {shown[:2000]}") from error


def log_in(driver: Any, url: str, home: Path) -> None:
    """Logs into the Airflow of a local stack as its one user."""
    driver.get(url)
    seen(driver, "//input[@name='username']").send_keys(ADMIN)
    seen(driver, "//input[@name='password']").send_keys(admin_password(home))
    seen(driver, "//button[@type='submit']").click()
    seen(driver, "//nav | //*[@id='root']//a[contains(@href, '/dags')]")
