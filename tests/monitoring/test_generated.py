"""The dashboard and the operator's rules are what their makers make; nothing in them points to nowhere."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from dashboard_panels import Panel, Query, Unit
from generated import write_or_check


def panels(monitoring: Path) -> list[dict[str, Any]]:
    """The dashboard's panels without the headings of rows."""
    board = json.loads((monitoring / "grafana" / "wayside.json").read_text())
    return [panel for panel in board["panels"] if panel["type"] != "row"]


@pytest.mark.parametrize("maker", ["dashboard.py", "rules.py"])
def test_files_are_as_made(maker: str, monitoring: Path) -> None:
    checked = subprocess.run(
        [sys.executable, monitoring / maker, "--check"], capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stderr) == (0, "")


def test_a_check_tells_of_a_difference_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "made.json"
    assert write_or_check(path, "new", "maker.py", ["--check"]) == 1
    assert not path.exists()
    assert write_or_check(path, "old", "maker.py", []) == 0
    assert write_or_check(path, "old", "maker.py", ["--check"]) == 0
    assert write_or_check(path, "new", "maker.py", ["--check"]) == 1
    assert path.read_text() == "old"
    assert write_or_check(path, "new", "maker.py", ["--chek"]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert errors[0].endswith("is not what makes it: run 'python maker.py'")
    assert len(errors) == 3


def test_the_operators_rules_are_the_rules(monitoring: Path) -> None:
    rules = yaml.safe_load((monitoring / "prometheus" / "alerts.yaml").read_text())
    rule = yaml.safe_load((monitoring / "kubernetes" / "prometheusrule.yaml").read_text())
    assert rule["kind"] == "PrometheusRule"
    assert rule["spec"] == rules


def test_every_panel_says_what_it_is_and_reads_the_chosen_source(monitoring: Path) -> None:
    for panel in panels(monitoring):
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["datasource"]["uid"] == "${datasource}", panel["title"]
        references = [target["refId"] for target in panel["targets"]]
        assert len(set(references)) == len(references), panel["title"]


def test_panels_do_not_overlap(monitoring: Path) -> None:
    places = [panel["gridPos"] for panel in panels(monitoring)]
    cells = [
        (x, y) for at in places for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24


def test_every_query_uses_variables_that_exist(monitoring: Path) -> None:
    board = json.loads((monitoring / "grafana" / "wayside.json").read_text())
    known = {variable["name"] for variable in board["templating"]["list"]} | {"__rate_interval", "__range"}
    assert {"datasource", "namespace", "service", "detector"} <= known
    for panel in panels(monitoring):
        for target in panel["targets"]:
            assert set(re.findall(r"\$(\w+)", target["expr"])) <= known


def test_a_legend_tells_each_series_from_the_others(monitoring: Path) -> None:
    """Whatever a query groups by stands in its legend, so that no two lines of a panel have one name."""
    for panel in panels(monitoring):
        for target in panel["targets"]:
            grouped = re.findall(r"\bby \(([\w, ]+)\)", target["expr"])
            labels = [set(text.split(", ")) - {"le"} for text in grouped]
            assert labels, panel["title"]
            assert all(found == labels[0] for found in labels), panel["title"]
            assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) == labels[0], panel["title"]
        assert len({target["legendFormat"] for target in panel["targets"]}) == len(panel["targets"])


def test_two_installations_are_not_one_line(monitoring: Path) -> None:
    for panel in panels(monitoring):
        for target in panel["targets"]:
            for text in re.findall(r"\bby \(([\w, ]+)\)", target["expr"]):
                labels = set(text.split(", "))
                assert "job" not in labels or "namespace" in labels, panel["title"]
                assert "trigger" not in labels or {"namespace", "broker"} <= labels, panel["title"]


@pytest.mark.parametrize("change", [{"description": ""}, {"queries": []}])
def test_a_panel_that_explains_or_shows_nothing_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="lacks a description or a query"):
        Panel(**{"title": "t", "description": "d", "unit": Unit.COUNT, "queries": [Query("up", "up")], **change})


def test_every_alert_has_its_place_in_the_runbook(monitoring: Path) -> None:
    repository = monitoring.parents[1]
    rules = yaml.safe_load((monitoring / "prometheus" / "alerts.yaml").read_text())["groups"][0]["rules"]
    alerts = [rule for rule in rules if "alert" in rule]
    assert [alert["alert"].removeprefix("Wayside") for alert in alerts] == [
        "OutlierRate", "DriftAlertOpen", "DataLost", "CaptureOff", "SpoolFilling",
    ]  # fmt: skip
    for alert in alerts:
        page, _, anchor = alert["annotations"]["runbook"].partition("#")
        headings = re.findall(r"(?m)^## (\w+)$", (repository / page).read_text())
        assert anchor in [heading.lower() for heading in headings]
        assert alert["labels"]["severity"] in ("warning", "critical")
        assert alert["annotations"]["summary"]
        assert alert["annotations"]["description"]


def test_grafana_finds_the_source_and_the_dashboard(monitoring: Path) -> None:
    folder = monitoring / "grafana" / "provisioning"
    source = yaml.safe_load((folder / "datasources" / "prometheus.yaml").read_text())["datasources"][0]
    scrape = yaml.safe_load((monitoring / "prometheus" / "prometheus.yaml").read_text())["global"]["scrape_interval"]
    assert (source["type"], source["jsonData"]["timeInterval"]) == ("prometheus", scrape)
    assert yaml.safe_load((folder / "dashboards" / "wayside.yaml").read_text())["providers"][0]["type"] == "file"


@pytest.mark.parametrize("name", ["kubernetes", "grafana"])
def test_a_kustomization_names_what_lies_beside_it(name: str, monitoring: Path) -> None:
    folder = monitoring / name
    kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text())
    resources = {folder / entry for entry in kustomization.get("resources", ())}
    assert all((path / "kustomization.yaml").is_file() if path.is_dir() else path.is_file() for path in resources)
    assert {path for path in folder.glob("*.yaml") if path.name != "kustomization.yaml"} <= resources


def test_grafanas_sidecar_finds_the_dashboard(monitoring: Path) -> None:
    folder = monitoring / "grafana"
    (made,) = yaml.safe_load((folder / "kustomization.yaml").read_text())["configMapGenerator"]
    assert made["options"]["labels"] == {"grafana_dashboard": "1"}
    assert [folder / name for name in made["files"]] == [folder / "wayside.json"]
    # `kubectl apply` notes the whole object in an annotation, and Kubernetes takes 256 KiB of those
    assert (folder / "wayside.json").stat().st_size < 200 << 10
