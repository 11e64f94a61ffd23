"""What promtool says of the rules and of the configuration, and what it would say of wrong ones."""

import subprocess
from math import sqrt
from pathlib import Path

import pytest
import yaml
from scipy.stats import binom, gamma

from .conftest import Promtool

# a process's admin port by its compose service, as docker-compose.yml and the manifests use them
ADMIN_PORTS = {
    "logger": 9082,
    "broker": 8611,
    "outlier": 8621,
    "drift": 8631,
    "records": 8641,
    "prometheus-sink": 8651,
    "elasticsearch-sink": 8661,
    "pushgateway": 9091,
}


def test_rules_and_configuration_are_valid(promtool: Promtool, monitoring: Path) -> None:
    assert "7 rules found" in promtool("check", "rules", monitoring / "prometheus" / "alerts.yaml")
    promtool("check", "config", monitoring / "prometheus" / "prometheus.yaml")


def test_alerts_fire_and_rest_as_they_should(promtool: Promtool, monitoring: Path) -> None:
    assert "SUCCESS" in promtool("test", "rules", monitoring / "prometheus" / "alerts.test.yaml")


def test_a_rule_without_its_margin_is_caught(promtool: Promtool, monitoring: Path, tmp_path: Path) -> None:
    """The cases of alerts.test.yaml have teeth: each weakened rule fails them."""
    rules = (monitoring / "prometheus" / "alerts.yaml").read_text()
    (tmp_path / "alerts.test.yaml").write_text((monitoring / "prometheus" / "alerts.test.yaml").read_text())
    series = "namespace, service, component, endpoint, revision, detector"
    for part, weaker in (
        (" + 4.6 + sqrt(21.2 + 27.6 * wayside:tolerated_rows:30m)", ""),
        (">= 100", ">= 0"),
        ("last_over_time(wayside_drift_alert_open[1h])", "wayside_drift_alert_open"),
        (f"max by ({series}) (wayside_drift_alert_open)\n            or ", ""),
        (f"max by ({series}) (wayside_drift_alert_open)", "max by (namespace, detector) (wayside_drift_alert_open)"),
        ("max_over_time(wayside_false_alarm_budget[30m])", "wayside_false_alarm_budget"),
        ("or (wayside:lost_events:total > 0 unless wayside:lost_events:total offset 10m)", ""),
        ("for: 2m", "for: 0m"),
        ('{outcome="dead_lettered"}', ""),
        ("min by (job, instance, namespace, service, pod)", "max by (job, instance, namespace, service, pod)"),
        ("(wayside_logger_capturing) == 0\n        for: 2m", "(wayside_logger_capturing) == 0"),
        ("> 0.8,", ">= 0.8,"),
        ("> 1800,", "> 1700,"),
    ):
        assert part in rules
        (tmp_path / "alerts.yaml").write_text(rules.replace(part, weaker))
        with pytest.raises(AssertionError, match="FAILED"):
            promtool("test", "rules", tmp_path / "alerts.test.yaml")


@pytest.mark.parametrize("rows", [100, 200, 1000, 20_000, 500_000])
@pytest.mark.parametrize("budget", [0.001, 0.01, 0.1])
def test_the_bound_holds_for_a_detector_at_twice_its_budget(rows: int, budget: float) -> None:
    """The figures of the rule, against the binomial distribution itself: at most once in a million windows."""
    tolerated = 2 * budget * rows
    assert binom.sf(tolerated + 4.6 + sqrt(21.2 + 27.6 * tolerated), rows, 2 * budget) <= 1.02e-6


def test_a_calibration_seldom_gives_twice_the_budget() -> None:
    """With ten expected alarms among n rows the rate is Beta(10, n - 9), whose limit is Gamma(10) / n."""
    assert gamma.sf(20, 10) < 1 / 190


def test_each_process_is_scraped_at_its_admin_port(monitoring: Path) -> None:
    config = yaml.safe_load((monitoring / "prometheus" / "prometheus.yaml").read_text())
    targets = {job["job_name"]: job["static_configs"][0]["targets"] for job in config["scrape_configs"]}
    assert targets == {name: [f"{name}:{port}"] for name, port in ADMIN_PORTS.items()}


@pytest.mark.services
def test_alertmanagers_configuration_is_valid(monitoring: Path, promtool: Promtool) -> None:
    """amtool comes with Alertmanager, promtool with Prometheus."""
    checked = subprocess.run(
        ["amtool", "check-config", monitoring / "prometheus" / "alertmanager.yaml"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert checked.returncode == 0, checked.stderr
