"""The rows of a table as arrivals in one series of windows.

Invariant: rows arrive in the table's order, each once; those of one time that follow each other arrive together. Where
rows have no times their positions stand for times: row n at n times the spacing.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from wayside.detectors.drift.settings import SpanCut, WindowSettings
from wayside.detectors.drift.windowing.values import Arrival, WindowKey
from wayside.detectors.kinds.protocol import Matrix, Vector
from wayside.eventing.clock import format_time
from wayside.eventing.vocabulary import ServiceKey

SOURCE = "rows"
DEFAULT_SPACING_S = 1.0
_TOGETHER_ROWS = 256
_NS = 1_000_000_000


def times_of(rows: int, time_s: Vector | None, spacing_s: float = DEFAULT_SPACING_S) -> NDArray[np.int64]:
    """When each row was, in nanoseconds since the epoch, shape (rows,)."""
    if time_s is None:
        return np.round(np.arange(rows) * (spacing_s * _NS)).astype(np.int64)
    return np.round(time_s * 1e6).astype(np.int64) * 1000


def arrivals_of(name: str, coded: Matrix, times_ns: NDArray[np.int64], settings: WindowSettings) -> Iterator[Arrival]:
    """The rows, and after them one that settles all before it and belongs to no window.

    Each arrival's id is the number of its first row.
    """
    key = WindowKey(ServiceKey("", name, "", ""))
    starts = _starts(times_ns, settings)
    for position, (first, end) in enumerate(zip(starts, [*starts[1:], len(coded)], strict=True)):
        yield _arrival(position, key, first, coded[first:end], int(times_ns[first]))
    if len(coded):
        end_ns = int(times_ns.max()) + _settling_ns(settings)
        yield _arrival(len(starts), key, len(coded), np.full((1, coded.shape[1]), np.nan), end_ns)


def _arrival(position: int, key: WindowKey, first: int, rows: Matrix, time_ns: int) -> Arrival:
    return Arrival(position, key, SOURCE, f"{first:012}", time_ns, format_time(time_ns), rows)


def _starts(times_ns: NDArray[np.int64], settings: WindowSettings) -> list[int]:
    """Where arrivals begin: where the time is another one, and after some rows in any case."""
    changes = np.flatnonzero(np.diff(times_ns)) + 1
    return sorted({0, *changes.tolist(), *range(0, len(times_ns), _TOGETHER_ROWS)}) if len(times_ns) else []


def _settling_ns(settings: WindowSettings) -> int:
    """How much later a row is by which every window before it is complete."""
    span_s = settings.cut.span_s if isinstance(settings.cut, SpanCut) else 0.0
    return round((settings.lateness_s + span_s) * _NS) + 1
