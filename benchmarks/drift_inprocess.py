"""Windows and tests in one process on one thread: rows a second, and milliseconds a test.

Invariant: rows come in events of 256, as the service has them; windows are cut by the product's own windowing.
"""

import time
import tracemalloc
from collections.abc import Iterator

import numpy as np
from drift_data import Matrix

from wayside.detectors.drift.settings import Budget, CountCut, WindowLimits, WindowSettings
from wayside.detectors.drift.windowing.values import Arrival, WindowKey
from wayside.detectors.drift.windowing.windowing import Windowing
from wayside.detectors.fitting.kind_options import options_of
from wayside.detectors.kinds.protocol import Execution, Sample, WindowDetector, WindowFitContext
from wayside.detectors.kinds.registry import window_detector
from wayside.eventing.clock import format_time
from wayside.eventing.vocabulary import ServiceKey

WINDOW, EVENT_ROWS = 1000, 256
_KEY = WindowKey(ServiceKey("default", "kddcup", "predictor", "default"))
_SETTINGS = WindowSettings(CountCut(WINDOW, WINDOW), Budget(0.01))
_STEP_NS = 1_000_000
_EPOCH_NS = 1_700_000_000_000_000_000


def detector_of(kind: str, reference: Matrix, **options: str) -> WindowDetector:
    """Fitted, saved and restored."""
    cls = window_detector(kind)
    context = WindowFitContext(0, window_rows=WINDOW, categories=(0,) * reference.shape[1], level=0.01)
    fitted = cls.fit(Sample.untimed(reference), options_of(kind, options), context)
    return cls.restore(fitted.state(), Execution())


def arrivals(rows: Matrix, count: int) -> Iterator[Arrival]:
    """So many events of `rows` in turn, a millisecond apart."""
    whole = len(rows) // EVENT_ROWS * EVENT_ROWS
    events = rows[:whole].reshape(-1, EVENT_ROWS, rows.shape[1])
    for number in range(count):
        time_ns = _EPOCH_NS + number * _STEP_NS
        yield Arrival(
            number, _KEY, "/bench", f"{number:09}", time_ns, format_time(time_ns), events[number % len(events)]
        )


def windowed_rate(detector: WindowDetector, rows: Matrix, seconds: float) -> float:
    """Rows a second through windows and test, on one thread."""
    given = list(arrivals(rows, 4000))
    done, started_s = 0, time.perf_counter()
    while time.perf_counter() - started_s < seconds:
        windowing = Windowing(_SETTINGS, WindowLimits())
        for arrival in given:
            windowing.take(arrival)
            while (window := windowing.next_window(_KEY)) is not None:
                detector.test(Sample(window.rows, window.time_s))
            windowing.spent(_KEY)
        done += len(given) * EVENT_ROWS
    return done / (time.perf_counter() - started_s)


def test_ms(detector: WindowDetector, rows: Matrix, seconds: float) -> float:
    """Milliseconds a test of one window, the median."""
    sample, taken_s = Sample.untimed(rows[:WINDOW]), []
    until_s = time.perf_counter() + seconds
    while time.perf_counter() < until_s or len(taken_s) < 3:
        started_s = time.perf_counter()
        detector.test(sample)
        taken_s.append(time.perf_counter() - started_s)
    return 1e3 * float(np.median(taken_s))


def held_share(rows: Matrix) -> float:
    """Bytes that a key holds of open rows, for each byte of the rows."""
    settings = WindowSettings(CountCut(200_000, 200_000), Budget(0.01))
    windowing = Windowing(settings, WindowLimits())
    count = 400
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for arrival in arrivals(rows, count):
        windowing.take(
            Arrival(
                arrival.position,
                arrival.key,
                arrival.source,
                arrival.id,
                arrival.time_ns,
                arrival.time,
                arrival.rows.copy(),
            )
        )
    held = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    return held / (count * EVENT_ROWS * rows.shape[1] * 8)
