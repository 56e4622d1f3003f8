"""What Prometheus is told to scrape and Grafana to show is what the service exports."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import yaml
from prometheus_client.metrics import MetricWrapperBase

from models.serving import metrics
from pipelines.settings import PROJECT

SCRAPED = {"up"}
"""What Prometheus itself adds to each target."""
SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",)}
NAME = re.compile(r"\b(?:headwater_\w+|up)\b")
USED = re.compile(r"(?:by|without) \(([^)]*)\)|(\w+)=~?\"|\{\{(\w+)\}\}")
OF_PROMETHEUS = {"le", "job", "instance"}


@pytest.fixture(scope="module")
def dashboard() -> dict[str, Any]:
    """The dashboard as Grafana imports it."""
    found: dict[str, Any] = json.loads((PROJECT / "deploy/grafana/headwater.json").read_text())
    return found


@pytest.fixture(scope="module")
def exported() -> dict[str, set[str]]:
    """The labels of each series that the service can export, by its name."""
    found = {}
    for metric in vars(metrics).values():
        if isinstance(metric, MetricWrapperBase):
            for suffix in SUFFIXES[metric._type]:
                found[metric._name + suffix] = set(metric._labelnames)
    return found


def _targets(dashboard: dict[str, Any]) -> list[tuple[str, str]]:
    return [(one["expr"], one["legendFormat"]) for panel in dashboard["panels"] for one in panel["targets"]]


def test_every_metric_that_is_shown_is_exported_and_every_one_exported_is_shown(
    dashboard: dict[str, Any], exported: dict[str, set[str]]
) -> None:
    shown = {name for expr, _ in _targets(dashboard) for name in NAME.findall(expr)}
    assert len(shown) > 12
    assert shown - SCRAPED <= set(exported)
    families = {re.sub("_(bucket|sum|count)$", "", name) for name in exported}
    assert {re.sub("_(bucket|sum|count)$", "", name) for name in shown - SCRAPED} == families


def test_every_label_that_is_named_is_one_of_the_metric_s(
    dashboard: dict[str, Any], exported: dict[str, set[str]]
) -> None:
    for expr, legend in _targets(dashboard):
        of = set().union(*(exported.get(name, set()) for name in NAME.findall(expr)))
        named = {
            label.strip() for found in USED.findall(expr + legend) for label in ",".join(filter(None, found)).split(",")
        }
        assert named <= of | OF_PROMETHEUS, expr


def test_the_variable_is_asked_of_a_metric_that_has_it(
    dashboard: dict[str, Any], exported: dict[str, set[str]]
) -> None:
    (variable,) = (one for one in dashboard["templating"]["list"] if one["name"] == "use_case")
    name, label = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["definition"]).groups()  # type: ignore[union-attr]
    assert label in exported[name]
    assert variable["query"]["query"] == variable["definition"]


def test_a_dashboard_has_no_panel_twice_or_over_another(dashboard: dict[str, Any]) -> None:
    places = [panel["gridPos"] for panel in dashboard["panels"]]
    cells = [(x, y) for p in places for x in range(p["x"], p["x"] + p["w"]) for y in range(p["y"], p["y"] + p["h"])]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    assert all(panel["description"] for panel in dashboard["panels"])


def test_what_is_scraped_is_a_service_of_the_compose_file_at_its_port() -> None:
    scraped = yaml.safe_load((PROJECT / "deploy/prometheus/prometheus.yml").read_text())["scrape_configs"]
    services = yaml.safe_load((PROJECT / "docker-compose.yaml").read_text())["services"]
    assert [job["job_name"] for job in scraped] == ["headwater-serving"]
    for job in scraped:
        for target in (name for group in job["static_configs"] for name in group["targets"]):
            service, _, port = target.partition(":")
            assert any(published.endswith(f":{port}") for published in services[service]["ports"])
