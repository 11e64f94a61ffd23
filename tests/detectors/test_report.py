"""The fit's report: what it says, that it loads nothing, and that no name in the data becomes markup."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from wayside.detectors.fitting.fit import FitReport, FitSettings, fit_artifact
from wayside.detectors.fitting.report.document import CALIBRATION, ORDINARY, OUTLIERS, report_document
from wayside.detectors.fitting.report.files import JSON_FILE, PAGE_FILE, write_report
from wayside.detectors.fitting.report.histogram import Histogram
from wayside.detectors.fitting.report.page import report_page
from wayside.detectors.fitting.window_plan import WindowPlan
from wayside.detectors.tabular.table import Table

from .conftest import normal_rows

NASTY = '<script>alert("x")</script>&\x00\x1b\u202e\u2066'
VOID = {"meta"}


class Page(HTMLParser):
    """Checks that elements are closed in order, and keeps what an element could load from."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "action", "data", "srcset")]
        assert not [name for name, _ in attrs if name.startswith("on")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def parsed(text: str) -> Page:
    page = Page()
    page.feed(text)
    page.close()
    assert page.open == []
    return page


@pytest.fixture(scope="module")
def table() -> Table:
    values = np.concatenate([normal_rows(2500, 50), normal_rows(60, 51) + 6])
    values[:, 1] = np.arange(len(values)) % 2
    values[::9, 2] = np.nan
    return Table(values, ("a", NASTY, "c", "d"), {1: (NASTY, "v")}, np.arange(len(values)) >= 2500)


@pytest.fixture(scope="module")
def report(table: Table) -> FitReport:
    return fit_artifact("mahalanobis", table, FitSettings(alpha=0.02))


def test_the_page_is_well_formed_and_loads_nothing(report: FitReport, table: Table) -> None:
    text = report_page(report, report_document(report, table))
    page = parsed(text)
    assert page.addresses == []
    assert {"script", "link", "img", "iframe"}.isdisjoint(page.tags)
    assert re.findall(r"https?://[^\"]+", text) == ["http://www.w3.org/2000/svg"]
    assert "url(" not in text
    assert "@import" not in text


def test_no_character_turns_the_order_of_text(report: FitReport, table: Table) -> None:
    text = report_page(report, report_document(report, table))
    assert not re.findall("[\u202a-\u202e\u2066-\u2069]", text)
    assert "&amp;\N{REPLACEMENT CHARACTER}" in text


def test_types_and_figures_stay_whole(report: FitReport, table: Table) -> None:
    text = report_page(report, report_document(report, table))
    assert '<div class="scroll columns"><table>' in text
    assert ".columns td:nth-child(2) { white-space: nowrap; }" in text
    figure = re.search(r"\.tiles \.figure {[^}]*}", text)
    assert figure is not None
    assert "nowrap" not in figure[0]  # a figure wider than its tile goes on in a second line


def test_the_page_says_what_is_promised(report: FitReport, table: Table) -> None:
    words = " ".join(parsed(report_page(report, report_document(report, table))).text)
    assert "for nine of ten such draws it is between 1." in words
    assert "60 are labelled outliers" in words
    assert "False-alarm rate" in words
    assert '<script>alert("x")</script>&' in words  # as text
    assert "threshold" in words


def test_the_document_counts_every_row(report: FitReport, table: Table) -> None:
    document = json.loads(json.dumps(report_document(report, table), allow_nan=False))
    counts = document["scores"]["counts"]
    assert {name: sum(each) for name, each in counts.items()} == {CALIBRATION: 1000, ORDINARY: 500, OUTLIERS: 60}
    assert document["quality"]["outliers"] == 60
    assert [column["type"] for column in document["columns"]] == ["number", "category", "number", "number"]
    assert document["columns"][1]["most_frequent"] == {NASTY: 1280, "v": 1280}
    assert document["columns"][2]["missing"] == pytest.approx(1 / 9, abs=0.001)


def test_without_labels_the_report_says_what_that_means() -> None:
    rows = Table.of(normal_rows(2000, 52))
    report = fit_artifact("mahalanobis", rows, FitSettings())
    document = report_document(report, rows)
    assert "some of them may be outliers" in document["notes"][0]
    assert document["quality"] is None
    parsed(report_page(report, document))


def test_a_window_detector_has_a_report(ks_report: tuple[FitReport, Table]) -> None:
    report, rows = ks_report
    words = " ".join(parsed(report_page(report, report_document(report, rows))).text)
    assert "10.0 windows of 50 rows" in words
    assert "calibrated on" not in words


@pytest.fixture
def ks_report() -> tuple[FitReport, Table]:
    rows = Table.of(normal_rows(500, 53))
    return fit_artifact("ks", rows, FitSettings(windows=WindowPlan.of_rows(50))), rows


def test_a_trainings_losses_are_drawn(report: FitReport, table: Table) -> None:
    trained = FitReport(report.artifact, 1, 1, report.interval, report.threshold, curve=(3.0, float("nan"), 1.0, 1.5))
    page = parsed(report_page(trained, report_document(trained, table)))
    assert "polyline" in page.tags
    assert "Validation loss from 3 to 1 at best, in 4 epochs." in " ".join(page.text)


def test_both_files_are_written(report: FitReport, table: Table, tmp_path: Path) -> None:
    write_report(report, table, tmp_path / "new" / "folder")
    assert sorted(path.name for path in (tmp_path / "new" / "folder").iterdir()) == [PAGE_FILE, JSON_FILE]


SCORES = arrays(np.float64, st.integers(1, 40), elements=st.floats(-1e6, 1e6) | st.sampled_from([0.0, 1.0, 1e-9, 1e12]))


@given(first=SCORES, second=SCORES, threshold=st.floats(-1e6, 1e6))
def test_every_score_is_in_one_bin(first: np.ndarray, second: np.ndarray, threshold: float) -> None:
    second[0] = np.inf
    histogram = Histogram.of({"a": first, "b": second}, threshold)
    assert (np.diff(histogram.edges) > 0).all()
    assert [counts.sum() for counts in histogram.counts.values()] == [len(first), len(second)]
    assert 0 <= histogram.place(threshold) <= 1
    assert len(histogram.ticks()) <= 20
