"""A fit's report as one page of HTML that needs nothing else: no script, no font, no address.

Invariant: whatever the data is called, the page is well formed and loads nothing.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from xml.etree import ElementTree as ET

from wayside.detectors.fitting.fit import FitReport
from wayside.detectors.fitting.report.document import histogram_of
from wayside.detectors.fitting.report.figures import figure_of_losses, figure_of_scores
from wayside.detectors.fitting.report.markup import element, page
from wayside.detectors.fitting.report.style import STYLE

_QUALITY = (
    ("roc_auc", "ROC-AUC", "an outlier outranks an ordinary row with this probability"),
    ("average_precision", "Average precision", "area under precision over recall"),
    ("f1", "F1", "of decisions at this threshold"),
    ("precision", "Precision", "share of flagged rows that are outliers"),
    ("recall", "Recall", "share of outliers that are flagged"),
)


def report_page(report: FitReport, document: Mapping[str, Any]) -> str:
    """The page of a report and of its `report_document`."""
    artifact = report.artifact
    body = element(
        "main",
        element("h1", f"{artifact.kind} ", element("span", artifact.name, class_="name")),
        element("p", f"artifact {artifact.digest}", class_="digest"),
        _tiles(report, document),
        *_pictures(report),
        *_promise(report, document["promise"]),
        *(element("p", note) for note in document["notes"]),
        *_quality(document["quality"]),
        element("h2", "Columns"),
        _columns(document["columns"], document["more_columns"]),
        element("h2", "Where it comes from"),
        _provenance(document["provenance"]),
    )
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", f"{artifact.kind} {artifact.name}: fit report"),
        element("style", STYLE),
    )
    return page(element("html", head, element("body", body), lang="en"))


def _tiles(report: FitReport, document: Mapping[str, Any]) -> ET.Element:
    tiles = [_asked(report)]
    if report.interval is not None:
        low, high = report.interval.low, report.interval.high
        tiles.append(("promised", f"{100 * low:.3g} to {100 * high:.3g} %", "90 % interval"))
        tiles.append(("threshold", f"{report.threshold:.5g}", "flagged above"))
    if report.windows is not None and report.windows.level is not None:
        tiles.append(("level", f"{report.windows.level:.3g}", "of a window"))
    tiles.append(("fitted on", f"{report.fitted_rows:,}", "rows"))
    if report.calibration_rows:
        tiles.append(("calibrated on", f"{report.calibration_rows:,}", "rows held out"))
    if document["quality"] is not None and document["quality"]["roc_auc"] is not None:
        tiles.append(("ROC-AUC", f"{document['quality']['roc_auc']:.4f}", "on rows that tested it"))
    return element("dl", *(_tile(*tile) for tile in tiles), class_="tiles")


def _asked(report: FitReport) -> tuple[str, str, str]:
    """The tile of what was asked for."""
    windows = report.artifact.windows
    if windows is None or windows.budget.per_s is None:
        alpha = report.artifact.alpha
        return "false alarms", f"{100 * alpha:.3g} %", f"of {'rows' if windows is None else 'windows'} asked for"
    return "false alarms", str(windows.budget), "of event time asked for"


def _tile(name: str, figure: str, words: str) -> ET.Element:
    return element("div", element("dt", name), element("dd", figure, class_="figure"), element("dd", words))


def _pictures(report: FitReport) -> list[ET.Element]:
    pictures: list[ET.Element] = []
    histogram = histogram_of(report)
    if histogram is not None and report.threshold is not None:
        pictures.append(_picture(figure_of_scores(histogram, report.threshold), "Scores, and where flagging begins."))
    if report.curve:
        pictures.append(_picture(figure_of_losses(report.curve), "Loss on rows held out of training, by epoch."))
    return pictures


def _picture(drawing: ET.Element, caption: str) -> ET.Element:
    return element("figure", drawing, element("figcaption", caption))


def _promise(report: FitReport, promise: Sequence[str]) -> list[ET.Element]:
    if report.interval is None:
        return [element("p", f"{line[:1].upper()}{line[1:]}.") for line in promise]
    return [
        element(
            "p",
            f"A row is flagged where its p-value, its rank among {report.calibration_rows:,} calibration rows, is at"
            f" most {report.artifact.alpha:g}. How many ordinary rows that flags depends on which rows happened to"
            f" calibrate: for nine of ten such draws it is between {report.interval.low:.3%} and"
            f" {report.interval.high:.3%}, as long as traffic is like the rows that calibrated.",
        )
    ]


def _quality(quality: Mapping[str, Any] | None) -> list[ET.Element]:
    if quality is None:
        return []
    rows = [(name, f"{quality[key]:.4f}", words) for key, name, words in _QUALITY if quality[key] is not None]
    alarms = quality["false_alarms"]
    if alarms is not None:
        low, high = alarms["interval_90"]
        place = "inside" if alarms["within"] else "outside"
        words = (
            f"{alarms['flagged']} of {alarms['rows']}; {place} {low:.3%} to {high:.3%}, the 90 % interval for so many"
        )
        rows.append(("False-alarm rate", f"{alarms['rate']:.3%}", words))
    heading = f"Quality on {quality['rows']:,} rows that tested it, {quality['outliers']:,} of them outliers"
    return [element("h2", heading), _table(("figure", "value", "what it says"), rows)]


def _columns(columns: Sequence[Mapping[str, Any]], more: int) -> ET.Element:
    rows = [(each["name"][:80], each["type"], f"{each['missing']:.1%}", _holds(each)) for each in columns]
    if more:
        rows.append((f"… and {more} more", "", "", ""))
    return _table(("column", "type", "missing", "holds"), rows, "scroll columns")


def _holds(column: Mapping[str, Any]) -> str:
    if "categories" in column:
        shown = ", ".join(f"{text[:24]} ({count:,})" for text, count in list(column["most_frequent"].items())[:6])
        return f"{column['categories']} categories: {shown}{', …' if column['categories'] > 6 else ''}"
    if "median" not in column:
        return "nothing"
    return f"{column['least']:.5g} to {column['greatest']:.5g}, median {column['median']:.5g}"


def _provenance(provenance: Mapping[str, Any]) -> ET.Element:
    return _table(("what", "value"), [(name.replace("_", " "), _flat(value)) for name, value in provenance.items()])


def _flat(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_flat(each)}" for name, each in value.items()) or "none"
    if isinstance(value, list | tuple):
        return "; ".join(_flat(each) for each in value)
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _table(names: Sequence[str], rows: Sequence[Sequence[str]], class_: str = "scroll") -> ET.Element:
    head = element("thead", element("tr", *(element("th", name, scope="col") for name in names)))
    body = element("tbody", *(element("tr", *(element("td", cell) for cell in row)) for row in rows))
    return element("div", element("table", head, body), class_=class_)
