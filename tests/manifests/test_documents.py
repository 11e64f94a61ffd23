"""The documents for people who run it: figures are those of the code, and paths that are named are there."""

import re
from inspect import signature
from math import floor, sqrt
from pathlib import Path

import pytest
from manifest_files import MANIFESTS, ROOT

from wayside.eventing.broker import cli as broker_cli
from wayside.eventing.kafka.holding import SourceLimits
from wayside.logger import cli as logger_cli
from wayside.sinks.elasticsearch.settings import Bounds
from wayside.sinks.prometheus import PrometheusSink

PAGES = sorted([*(ROOT / "docs").glob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md", MANIFESTS / "README.md"])
GUARANTEES = (ROOT / "docs" / "guarantees.md").read_text(encoding="utf-8")
ALERTS = (ROOT / "docs" / "alerts.md").read_text(encoding="utf-8")
_FOLDERS = "tests|docs|scripts|manifests|local|logger|sinks|detectors|eventing|benchmarks|examples"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_paths_and_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    named = [ROOT / path for path in re.findall(rf"`((?:{_FOLDERS})/[\w./-]*)`", text)]
    linked = [page.parent / link for link in re.findall(r"\]\(([^)#:\s]+)", text)]
    assert [path for path in (*named, *linked) if not path.exists()] == []


def said(text: str) -> None:
    assert text in " ".join(GUARANTEES.split()), text


def number(value: int) -> str:
    return f"{value:,}".replace(",", " ")


def test_the_bounds_are_those_of_the_code() -> None:
    delivery = logger_cli.parse([], {}).delivery
    said(f"{delivery.queue_bytes >> 20} MiB or {number(delivery.queue_events)} events")
    said(f"at most {number(Bounds().waiting_events)} events or {Bounds().waiting_bytes >> 20} MiB wait in memory")
    said(f"among the last {number(signature(PrometheusSink).parameters['remember'].default)} verdicts")
    said(f"at most {number(SourceLimits().span_events)} events of a partition")
    broker = broker_cli.parse(["--data", "data", "--manifest", "manifest.yaml"], {})
    said(f"`--store-limit` ({broker.store_limit_bytes >> 30} GiB)")


def test_the_table_of_the_outlier_alert_is_what_its_rule_computes() -> None:
    rows, above, share = (
        [cell.strip() for cell in re.findall(rf"(?m)^\| {head}[^|]*\|(.*)\|$", ALERTS)[0].split("|")]
        for head in ("rows in 30 min", "fires above", "that is")
    )
    assert len(rows) == len(above) == len(share) > 1
    for shown, limit, percent in zip(rows, above, share, strict=True):
        count = int(shown.replace(" ", ""))
        tolerated = 2 * 0.01 * count
        bound = tolerated + 4.6 + sqrt(21.2 + 27.6 * tolerated)
        assert int(limit.replace(" ", "")) == floor(bound)
        assert percent == f"{100 * bound / count:.1f} %"
