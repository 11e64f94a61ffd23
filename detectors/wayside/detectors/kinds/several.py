"""`several`: more than one test of the same windows, which share the level.

Source: Bonferroni's inequality; Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal
of Statistics 6 (1979), for telling by `parts` which tests drifted.
Invariant: `p_value` is valid for the window as a whole if that of each test is. A test that cannot tell small p-values
apart is held to its least one, so that it never spends what it cannot resolve.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from dataclasses import replace as replaced
from typing import ClassVar, Self

import numpy as np

from wayside.detectors.kinds.protocol import (
    ComparesSamples,
    Described,
    Execution,
    Sample,
    SequentialDetector,
    State,
    Vector,
    WindowDetector,
    WindowFitContext,
    WindowTest,
)
from wayside.detectors.kinds.registry import window_detector
from wayside.eventing.errors import ConfigurationError

_MOST = 8
_NAMES = "of"
_SEPARATOR = ":"


@dataclass(frozen=True, slots=True)
class SeveralOptions:
    """`of` names kinds of window detectors, with commas; each is fitted with the options that it has by default."""

    of: str = "tabular,mmd"

    def __post_init__(self) -> None:
        names = self.names
        if not 2 <= len(names) <= _MOST or len(set(names)) < len(names):
            raise ConfigurationError(f"of is {self.of!r}: name 2 to {_MOST} kinds that differ, with commas")
        if Several.kind in names:
            raise ConfigurationError(f"of is {self.of!r}: {Several.kind} cannot be one of its own tests")

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name.strip() for name in self.of.split(","))


class Several(WindowDetector):
    """Rows are scaled features for all its tests: finite numbers, each category an indicator."""

    kind: ClassVar[str] = "several"
    summary: ClassVar[str] = "several tests of one window, such as tabular and mmd, Bonferroni over tests"
    options: ClassVar[type[SeveralOptions]] = SeveralOptions

    def __init__(self, tests: Mapping[str, WindowDetector]) -> None:
        if len({test.features for test in tests.values()}) != 1:
            raise ValueError("the tests were fitted on rows of different widths")
        self._tests = dict(tests)

    @classmethod
    def fit(cls, reference: Sample, options: SeveralOptions, context: WindowFitContext) -> Self:
        """Each test is fitted for its share of the level."""
        kinds = {name: _single(name) for name in options.names}
        shared = replaced(context, level=context.level / len(kinds), categories=())
        return cls({name: kind.fit(reference, kind.options(), shared) for name, kind in kinds.items()})

    @property
    def features(self) -> int:
        return next(test.features for test in self._tests.values())

    @property
    def least_rows(self) -> int:
        return max(test.least_rows for test in self._tests.values())

    def described(self) -> tuple[str, ...]:
        """What the tests say of their fits: a line each, for people."""
        tests = self._tests.items()
        return tuple(f"{name}: {test.described()}" for name, test in tests if isinstance(test, Described))

    def test(self, window: Sample) -> WindowTest:
        return joined({name: test.test(window) for name, test in self._tests.items()})

    def compare(self, reference: Sample, window: Sample) -> WindowTest:
        """By those of the tests that can. Raises `ConfigurationError` where none can."""
        able = {name: test for name, test in self._tests.items() if isinstance(test, ComparesSamples)}
        if not able:
            raise ConfigurationError(f"none of {', '.join(self._tests)} compares two samples: fit one that does")
        return joined({name: test.compare(reference, window) for name, test in able.items()})

    def state(self) -> State:
        """Those of its tests, each name after the test's own."""
        states = {name: test.state() for name, test in self._tests.items()}
        return State(
            {_NAMES: np.frombuffer(",".join(states).encode(), np.uint8)}
            | {
                _SEPARATOR.join((name, key)): each
                for name, state in states.items()
                for key, each in state.arrays.items()
            },
            {_SEPARATOR.join((name, key)): each for name, state in states.items() for key, each in state.files.items()},
        )

    @classmethod
    def restore(cls, state: State, execution: Execution) -> Self:
        try:
            names = SeveralOptions(state.arrays[_NAMES].tobytes().decode()).names
            kinds = {name: _single(name) for name in names}
        except ConfigurationError as exc:
            raise ValueError(f"the tests are not known: {exc}") from exc
        return cls({name: kind.restore(_part(state, name), execution) for name, kind in kinds.items()})


def joined(tests: Mapping[str, WindowTest]) -> WindowTest:
    """One outcome of the tests of one window: the smallest p-value times how many there are, and the statistic of the
    test that it is of. Columns have the smallest p-value of the tests that have a view of them, times how many have."""
    parts = {name: replaced(test, p_value=max(test.p_value, test.least_p_value)) for name, test in tests.items()}
    decisive = min(parts.values(), key=lambda part: part.p_value)
    views = [part for part in parts.values() if len(part.feature_p_value)]
    return WindowTest(
        statistic=decisive.statistic,
        p_value=min(1.0, len(parts) * decisive.p_value),
        feature_distance=views[0].feature_distance if views else np.empty(0),
        feature_p_value=_joined_columns(views),
        least_p_value=min(1.0, len(parts) * min(part.least_p_value for part in parts.values())),
        parts=parts,
    )


def _joined_columns(views: Sequence[WindowTest]) -> Vector:
    if not views:
        return np.empty(0)
    smallest = np.min([view.feature_p_value for view in views], axis=0)
    columns: Vector = np.minimum(len(views) * smallest, 1.0)
    return columns


def _single(name: str) -> type[WindowDetector]:
    kind = window_detector(name)
    if issubclass(kind, SequentialDetector):
        raise ConfigurationError(f"{name} judges a stream by a memory: fit it alone, not as one of {Several.kind}")
    return kind


def _part(state: State, name: str) -> State:
    start = name + _SEPARATOR
    return State(
        {key.removeprefix(start): each for key, each in state.arrays.items() if key.startswith(start)},
        {key.removeprefix(start): each for key, each in state.files.items() if key.startswith(start)},
    )
