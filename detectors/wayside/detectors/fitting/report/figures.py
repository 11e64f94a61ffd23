"""The report's pictures, as inline SVG: distributions of scores with the threshold, and a training's losses.

Invariant: colours come from the page's style by class names, so that a picture is as readable in the dark; each says in
words what it shows.
"""

from xml.etree import ElementTree as ET

import numpy as np

from wayside.detectors.fitting.report.document import CALIBRATION, ORDINARY, OUTLIERS
from wayside.detectors.fitting.report.histogram import Histogram
from wayside.detectors.fitting.report.markup import element
from wayside.detectors.kinds.protocol import Vector

_WIDTH, _HEIGHT = 860.0, 320.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 56.0, 12.0, 44.0, 44.0
_CLASSES = {CALIBRATION: "calibration", ORDINARY: "tested", OUTLIERS: "outliers"}
_RIGHT_HALF = 0.7  # of the axis: beyond it a label stands on the left of its line


def figure_of_scores(histogram: Histogram, threshold: float) -> ET.Element:
    """Bars for the calibration rows, and steps for those that tested, as shares of their own rows."""
    shares = {name: counts / counts.sum() for name, counts in histogram.counts.items()}
    top = max(float(each.max()) for each in shares.values())
    drawing = _drawing("Distribution of scores", _words(histogram, threshold))
    drawing.extend(_y_axis([0.0, top / 2, top], top, "share of rows"))
    for tick in histogram.ticks():
        drawing.extend(_x_tick(histogram.place(tick), f"{tick:.4g}"))
    for name, share in shares.items():
        drawing.append(_bars(share / top) if name == CALIBRATION else _steps(share / top, _CLASSES[name]))
    drawing.extend(_threshold(histogram.place(threshold), f"threshold {threshold:.4g}"))
    drawing.extend(_legend(list(shares)))
    drawing.append(
        _x_title(f"score{', logarithmic' if histogram.is_log else ''}; the bars at the ends hold what is beyond")
    )
    return drawing


def figure_of_losses(losses: tuple[float, ...]) -> ET.Element:
    """The validation loss of each epoch; those that are not finite are left out."""
    values = np.array(losses)
    shown = values[np.isfinite(values)]
    low, high = float(shown.min()), float(shown.max())
    span = (high - low) or 1.0
    drawing = _drawing(
        "Training", f"Validation loss from {losses[0]:.4g} to {low:.4g} at best, in {len(losses)} epochs."
    )
    drawing.extend(_y_axis([low, (low + high) / 2, high], high, "validation loss", low))
    last = max(len(values) - 1, 1)
    points = [(_x(at / last), _y((value - low) / span)) for at, value in enumerate(values) if np.isfinite(value)]
    drawing.append(element("polyline", class_="loss", points=" ".join(f"{x:.1f},{y:.1f}" for x, y in points)))
    for epoch in sorted({1, (len(values) + 1) // 2, len(values)}):
        drawing.extend(_x_tick((epoch - 1) / last, str(epoch)))
    drawing.append(_x_title("epoch"))
    return drawing


def _words(histogram: Histogram, threshold: float) -> str:
    rows = ", ".join(f"{int(counts.sum())} {name}" for name, counts in histogram.counts.items())
    low, high = histogram.edges[[0, -1]].tolist()
    return f"Scores of {rows}, from {low:.4g} to {high:.4g}; the threshold is {threshold:.4g}."


def _drawing(title: str, description: str) -> ET.Element:
    return element(
        "svg",
        element("title", title),
        element("desc", description),
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {_WIDTH:g} {_HEIGHT:g}",
        role="img",
        aria_label=f"{title}. {description}",
    )


def _x(place: float) -> float:
    return _LEFT + place * (_WIDTH - _LEFT - _RIGHT)


def _y(height: float) -> float:
    return _HEIGHT - _BOTTOM - height * (_HEIGHT - _TOP - _BOTTOM)


def _y_axis(ticks: list[float], high: float, title: str, low: float = 0.0) -> list[ET.Element]:
    parts = [element("text", title, class_="axis", x=_LEFT - 44, y=_TOP - 14)]
    for tick in ticks:
        y = _y((tick - low) / ((high - low) or 1.0))
        parts.append(element("line", class_="grid", x1=_x(0), x2=_x(1), y1=y, y2=y))
        parts.append(element("text", f"{tick:.3g}", class_="axis", x=_LEFT - 8, y=y + 4, text_anchor="end"))
    return parts


def _x_tick(place: float, text: str) -> list[ET.Element]:
    x, y = _x(place), _y(0)
    return [
        element("line", class_="tick", x1=x, x2=x, y1=y, y2=y + 5),
        element("text", text, class_="axis", x=x, y=y + 19, text_anchor="middle"),
    ]


def _x_title(text: str) -> ET.Element:
    return element("text", text, class_="axis", x=_x(0.5), y=_HEIGHT - 6, text_anchor="middle")


def _bars(heights: Vector) -> ET.Element:
    width = 1 / len(heights)
    group = element("g", class_=_CLASSES[CALIBRATION])
    for at, height in enumerate(heights.tolist()):
        if height:
            x, y = _x(at * width), _y(height)
            group.append(element("rect", x=x, y=y, width=_x((at + 1) * width) - x - 1, height=_y(0) - y))
    return group


def _steps(heights: Vector, name: str) -> ET.Element:
    width, path = 1 / len(heights), [f"M{_x(0):.1f} {_y(0):.1f}"]
    for at, height in enumerate(heights.tolist()):
        path.append(f"V{_y(height):.1f}H{_x((at + 1) * width):.1f}")
    return element("path", class_=name, d="".join([*path, f"V{_y(0):.1f}"]))


def _threshold(place: float, text: str) -> list[ET.Element]:
    x, is_right = _x(place), place > _RIGHT_HALF
    return [
        element("line", class_="threshold", x1=x, x2=x, y1=_TOP - 8, y2=_y(0)),
        element("text", text, class_="threshold-name", x=x + (-6 if is_right else 6), y=_TOP + 2,
                text_anchor="end" if is_right else "start"),
    ]  # fmt: skip


def _legend(names: list[str]) -> list[ET.Element]:
    parts, x = list[ET.Element](), _x(0) + 80
    for name in names:
        parts.append(element("rect", class_=_CLASSES[name], x=x, y=8, width=14, height=12))
        parts.append(element("text", name, class_="axis", x=x + 20, y=18))
        x += 44 + 7 * len(name)
    return parts
