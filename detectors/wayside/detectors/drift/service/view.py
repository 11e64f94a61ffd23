"""What people and the page are told of each key: how far its rows are, what its windows came to, whether it warms up,
is quiet or has an alert open.

Invariant: of each key, `rows` = `in_windows` + `open` + `late` + `overflow` + `evicted`, at every moment.
"""

from collections.abc import Mapping
from typing import Any

from wayside.detectors.drift.judging.series import SeriesState
from wayside.detectors.drift.service.series import Story
from wayside.detectors.drift.windowing.series import KeyProgress
from wayside.eventing.clock import format_time

_MANY_LATE = 0.1  # of a key's rows: no window fills as fast as rows come, and people are told why


def view_of(at: KeyProgress, state: SeriesState, story: Story) -> Mapping[str, Any]:
    """One key. `in_windows` are rows that no window to come holds; `windows` are those that were judged and written."""
    rows = {
        "rows": at.rows,
        "in_windows": at.in_windows,
        "open": at.open,
        "late": at.late,
        "overflow": at.overflow,
        "evicted": at.evicted,
    }
    windows = {
        "windows": story.windows,
        "drifted": story.drifted,
        "unjudged": story.unjudged,
        "empty_windows": at.empty_windows,
        "hurried": at.hurried,
    }
    return {
        "key": str(at.key),
        **rows,
        **windows,
        "watermark": None if at.watermark_ns is None else format_time(at.watermark_ns),
        "state": _state(at, state, story),
        "quiet": story.quiet,
        "alert": None if state.alert is None else state.alert.alert.opened,
        "spent": state.total,
        "last": story.last,
    }


def _state(at: KeyProgress, state: SeriesState, story: Story) -> str:
    """In words."""
    if state.alert is not None:
        return f"alert open since {state.alert.alert.opened}"
    if story.windows:
        return f"quiet for {story.quiet} windows" if story.quiet != 1 else "quiet for 1 window"
    if at.late > at.rows * _MANY_LATE:
        return f"waiting: {100 * at.late / at.rows:.0f} % of rows are late"
    if at.closes_ns is not None:
        return f"warming up: its first window closes at {format_time(at.closes_ns)}"
    return f"warming up: {at.open} of {at.open + at.needed_rows} rows"
