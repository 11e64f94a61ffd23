"""What a fitted window detector promises, in lines for people.

Invariant: what is not known is said to be unknown; no figure stands here that does not follow from the fit.
"""

from wayside.detectors.artifacts.artifact import Windowed
from wayside.detectors.drift.settings import Compared
from wayside.detectors.fitting.windows import WindowOutcome, rows_of_window

LARGE_REFERENCE_WINDOWS = 20
_SPANS_S = (("weeks", 604800.0), ("days", 86400.0), ("hours", 3600.0), ("minutes", 60.0), ("seconds", 1.0))


def window_promise(windowed: Windowed, outcome: WindowOutcome) -> list[str]:
    """The reference, how its level holds, what a window may spend, and how long false alarms are apart."""
    return [
        *_reference(windowed, outcome),
        *_held_against(windowed, outcome),
        *_spending(windowed, outcome),
    ]


def windows_in(windowed: Windowed, outcome: WindowOutcome) -> float | None:
    """How many windows the reference holds; None where windows are spans and the traffic is not known."""
    rows = rows_of_window(windowed.settings, outcome.rows_per_s)
    return windowed.reference.rows / rows if rows else None


def _reference(windowed: Windowed, outcome: WindowOutcome) -> list[str]:
    reference, windows = windowed.reference, windows_in(windowed, outcome)
    size = "" if windows is None else f", which is {windows:.1f} windows of {windowed.settings.cut}"
    stretch = "" if reference.from_time is None else f", from {reference.from_time} to {reference.to_time}"
    dropped = [f"{outcome.dropped_rows} rows that miss a value were left out of it"] if outcome.dropped_rows else []
    columns, features = len(windowed.transform.names), windowed.transform.name
    seen = [] if features == "columns" else [f"seen after {features}: {columns} features"]
    return [f"reference of {reference.rows} rows{size}{stretch}, digest {reference.digest[:12]}", *dropped, *seen]


def _held_against(windowed: Windowed, outcome: WindowOutcome) -> tuple[str, ...]:
    """What windows are compared with, and how far the level holds for that."""
    compared = windowed.settings.compared
    if compared is Compared.NOTHING:
        return outcome.described or _size(windowed, outcome)
    stable = "'default', else the one of most rows" if compared is Compared.ENDPOINTS else "the one of most rows"
    return (
        f"in each window the {compared.value} of a service are compared with each other, each with {stable},"
        " and none with the reference",
    )


def _size(windowed: Windowed, outcome: WindowOutcome) -> tuple[str, ...]:
    """Of a kind that says nothing of its own calibration."""
    windows = windows_in(windowed, outcome)
    if windows is None:
        return ("whether the reference is large enough depends on the rows of a window, which are not known here",)
    if windows >= LARGE_REFERENCE_WINDOWS:
        return (f"the reference is large enough: {LARGE_REFERENCE_WINDOWS} windows or more",)
    return (f"for this one reference false alarms may be more: give {LARGE_REFERENCE_WINDOWS} windows of rows or more",)


def _spending(windowed: Windowed, outcome: WindowOutcome) -> list[str]:
    budget, cut = windowed.settings.budget, windowed.settings.cut
    if outcome.level is None:
        return [
            f"false alarms asked for: {budget} of event time; what that is a window is not known here: say"
            " --expect-rows '10000 per hour', or give rows that have times"
        ]
    if budget.per_s is None:
        return [f"false alarms asked for: {budget.false_alarms:.3%} of windows; {_run_length(outcome.level, None)}"]
    at = "" if outcome.rows_per_s is None else f" at {outcome.rows_per_s:.3g} rows a second"
    limited = ", its limit," if outcome.level == windowed.settings.level_limit else ""
    return [
        f"false alarms asked for: {budget} of event time; a window of {cut}{at} comes to {outcome.level:.3g}{limited}"
        f"; {_run_length(outcome.level, budget.per_s / budget.false_alarms)}"
    ]


def _run_length(level: float, apart_s: float | None) -> str:
    """The expected run time from one false alarm to the next."""
    time = "" if apart_s is None else f" ({span_text(apart_s)})"
    return f"where nothing drifts one is expected in {1 / level:.0f} windows{time}"


def span_text(span_s: float) -> str:
    """A span for people: 7 days, 1.5 hours."""
    name, unit_s = next((each for each in _SPANS_S if span_s >= 2 * each[1]), _SPANS_S[-1])
    return f"{span_s / unit_s:.3g} {name}"
