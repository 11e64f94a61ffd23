"""What the tests of judging share: windows at chosen times, and detectors that say what they are told to."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from wayside.detectors.artifacts.artifact import Reference, Windowed
from wayside.detectors.drift.judging.judge import Judged, WindowJudge
from wayside.detectors.drift.judging.series import SeriesState
from wayside.detectors.drift.judging.summary import ReferenceSummary
from wayside.detectors.drift.settings import Budget, CountCut, WindowSettings
from wayside.detectors.drift.transforms.columns import ColumnsTransform
from wayside.detectors.drift.windowing.values import Window, WindowKey
from wayside.detectors.kinds.protocol import (
    Arrays,
    Execution,
    Matrix,
    Sample,
    SequentialDetector,
    State,
    WindowDetector,
    WindowTest,
)
from wayside.detectors.tabular.schema import Schema
from wayside.eventing.clock import format_time
from wayside.eventing.verdict import DetectorIdentity
from wayside.eventing.vocabulary import ServiceKey
from wayside.eventing.window_verdict import RowRange, WindowVerdict, read_window_verdict

KEY = WindowKey(ServiceKey("default", "digits", "predictor", "default"), "digits-00002")
IDENTITY = DetectorIdentity("drift", "said", "cd" * 32, 0.01)
REFERENCE = Reference(1000, "ef" * 32)
START_NS = 1_700_000_000_000_000_000
S = 1_000_000_000
PER_DAY = Budget.parse("1 per day")


class SaidDetector(WindowDetector):
    """Its p-value is the first value of the window's first row, the least that it can tell the second value of it."""

    kind: ClassVar[str] = "said"
    takes_missing: ClassVar[bool] = False
    parts: ClassVar[Mapping[str, WindowTest]] = {}

    @property
    def features(self) -> int:
        return 2

    @property
    def least_rows(self) -> int:
        return 2

    @classmethod
    def fit(cls, reference: Sample, options: Any, context: Any) -> "SaidDetector":
        return cls()

    def state(self) -> State:
        return State({})

    @classmethod
    def restore(cls, state: State, execution: Execution) -> "SaidDetector":
        return cls()

    def test(self, window: Sample) -> WindowTest:
        p_value, least = window.rows[0, :2].tolist()
        if p_value < 0:
            raise FloatingPointError("its numbers ran out")
        none = np.empty(0)
        return WindowTest(1.0 - p_value, p_value, none, none, least, self.parts)


class CountingDetector(SaidDetector, SequentialDetector):
    """As `SaidDetector`; its memory counts the rows that it saw."""

    def memory(self) -> Arrays:
        return {"rows": np.zeros((1, 1)), "last": np.zeros(2)}

    def settling_rows(self, level: float, window_rows: int) -> int:
        return 0

    def advance(self, memory: Arrays, window: Sample) -> tuple[WindowTest, Arrays]:
        return self.test(window), {"rows": memory["rows"] + len(window), "last": window.rows[-1]}


class ComparingDetector(SaidDetector):
    """Compares samples by the p-value in the first row of the second."""

    def compare(self, reference: Sample, window: Sample) -> WindowTest:
        return self.test(window)


def judge_of(detector: WindowDetector | None = None, reference: Matrix | None = None, **settings: Any) -> WindowJudge:
    """Of a detector behind the columns themselves; by days, unless `budget` says otherwise."""
    detector = detector or SaidDetector()
    schema = Schema.of_width(detector.features)
    chosen = WindowSettings(**{"cut": CountCut(10, 10), "budget": PER_DAY, **settings})
    summary = {} if reference is None else ReferenceSummary.of(reference, schema).arrays()
    windowed = Windowed(chosen, ColumnsTransform(schema), REFERENCE, summary)
    return WindowJudge.around(detector, windowed, schema, IDENTITY)


def window_of(
    rows: Matrix | Sequence[Sequence[float]],
    start_s: float,
    end_s: float,
    first: int = 0,
    groups: Sequence[str] = (),
) -> Window:
    """Rows, an event each, evenly from `start_s` to `end_s` after `START_NS`; `groups` has a name a row."""
    matrix = np.asarray(rows, np.float64)
    times = [START_NS + round(each * S) for each in np.linspace(start_s, end_s, len(matrix))]
    members = [RowRange("/logger", f"e{first + at}", 0, 1, format_time(time)) for at, time in enumerate(times)]
    names = tuple(sorted(set(groups))) or ("",)
    codes = np.array([names.index(group) for group in groups] or [0] * len(matrix))
    return Window(
        key=KEY,
        first=first,
        end=first + len(matrix),
        rows=matrix,
        time_s=np.array(times) / 1e9,
        members=members,
        time=members[-1].time,
        start_ns=times[0],
        end_ns=times[-1],
        budget_ns=times[-1],
        groups=codes,
        group_names=names,
    )


def said(p_value: float, hour: float, least: float = 0.0, first: int = 0, hours: float = 1.0) -> Window:
    """A window of two rows from `hour` on whose p-value is this."""
    return window_of([[p_value, least], [0.5, 0.5]], 3600 * hour, 3600 * (hour + hours), first)


def told(judged: Judged) -> WindowVerdict:
    """The verdict as a reader has it."""
    return read_window_verdict(judged.verdict)


def judged_all(judge: WindowJudge, windows: Sequence[Window]) -> list[Judged]:
    """Window after window, the state kept as bytes between them."""
    state, found = judge.begin(), []
    for window in windows:
        found.append(judge.judge(window, SeriesState.from_bytes(state.to_bytes())))
        state = found[-1].state
    return found
