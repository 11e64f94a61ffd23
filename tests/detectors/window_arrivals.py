"""Arrivals for tests of windowing: rows that tell where they come from, and windows as values that compare."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st

from wayside.detectors.drift.settings import Budget, CountCut, Cut, SpanCut, WindowLimits, WindowSettings
from wayside.detectors.drift.windowing.values import Arrival, Window, WindowKey
from wayside.detectors.drift.windowing.windowing import Taken, Windowing
from wayside.eventing.clock import format_time
from wayside.eventing.vocabulary import ServiceKey

SECOND = 1_000_000_000
START_NS = 1_700_000_000 * SECOND
BUDGET = Budget(0.01)

quick = settings(max_examples=40, deadline=None)


def key(name: str = "default") -> WindowKey:
    return WindowKey(ServiceKey("shop", "cart", "predictor", name), "cart-00001")


def cut_by(cut: Cut, lateness_s: float = 2.0) -> WindowSettings:
    return WindowSettings(cut, BUDGET, lateness_s=lateness_s)


def counts(rows: int, step: int | None = None) -> CountCut:
    return CountCut(rows, step or rows)


def spans(span_s: float, step_s: float | None = None) -> SpanCut:
    return SpanCut(span_s, step_s or span_s)


def arrival(position: int, at_s: float, rows: int = 1, *, endpoint: str = "default", **said: Any) -> Arrival:
    """An event whose rows name it: column 0 is its time, column 1 counts its rows."""
    time_ns = START_NS + round(at_s * SECOND)
    values = np.column_stack([np.full(rows, at_s), np.arange(rows, dtype=float)])
    said = {"source": "/app", "id": f"e{position}", "group": "", **said}
    return Arrival(position, key(endpoint), time_ns=time_ns, time=format_time(time_ns), rows=values, **said)


@dataclass(frozen=True)
class Seen:
    """A window, bytes and all."""

    key: WindowKey
    first: int
    end: int
    start_ns: int
    end_ns: int
    budget_ns: int
    time: str
    rows: bytes
    time_s: bytes
    members: tuple[Any, ...]
    groups: tuple[str, ...]

    @classmethod
    def of(cls, window: Window) -> "Seen":
        return cls(
            *(window.key, window.first, window.end, window.start_ns, window.end_ns, window.budget_ns, window.time),
            rows=window.rows.tobytes(),
            time_s=window.time_s.tobytes(),
            members=tuple(window.members),
            groups=tuple(window.group_names[at] for at in window.groups),
        )


def drain(windowing: Windowing) -> Iterator[Seen]:
    """All complete windows."""
    for ready in windowing.ready():
        while (window := windowing.next_window(ready)) is not None:
            yield Seen.of(window)


def fold(windowing: Windowing, arrivals: Iterable[Arrival]) -> list[Seen]:
    """The windows that arrivals give, those of keys that are given up among them."""
    seen: list[Seen] = []
    for each in arrivals:
        seen += given_up(windowing.take(each))
        seen += drain(windowing)
    return seen


def given_up(taken: Taken) -> list[Seen]:
    return [Seen.of(window) for evicted in taken.evicted for window in evicted.windows]


def windows_of(cut: Cut, arrivals: Iterable[Arrival], lateness_s: float = 2.0) -> list[Seen]:
    return fold(Windowing(cut_by(cut, lateness_s), WindowLimits()), arrivals)


@st.composite
def streams(draw: st.DrawFn, most: int = 40, lateness_ticks: int = 8) -> list[Arrival]:
    """Arrivals in an order that keeps within a watermark of `lateness_ticks` quarter seconds: none is late. Times
    repeat, and now and then there is a gap; an event has up to 9 rows."""
    gaps = st.sampled_from([0, 0, 0, 1, 1, 2, 3, 7, 40])
    sent, at = [], 0
    for number in range(draw(st.integers(1, most))):
        at += draw(gaps)
        source = draw(st.sampled_from(["/a", "/b"]))
        sent.append(
            (at + draw(st.integers(0, lateness_ticks)), at, draw(st.integers(1, 9)), source, f"e{number % 7}-{number}")
        )
    sent.sort(key=lambda each: each[0])
    return [
        arrival(position, at / 4, rows, source=source, id=name)
        for position, (_, at, rows, source, name) in enumerate(sent)
    ]


def cuts() -> st.SearchStrategy[Cut]:
    """Windows of all shapes, of a few rows and of a few seconds."""
    return st.sampled_from(
        [counts(2), counts(5), counts(7, 3), counts(20, 1), spans(1), spans(2.5), spans(3, 1), spans(5, 0.25)]
    )
