"""Groups of one window held against each other: a canary's rows against the stable revision's, over the same stretch.

Invariant: no group is called drifted but by a test against the stable one, and the p-value of the window holds however
many groups there are (Holm); a group too small to be tested is told, never passed over.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from wayside.detectors.drift.judging.holm import adjusted
from wayside.detectors.drift.judging.missing import RowChoice
from wayside.detectors.drift.judging.trial import Trial, WindowTrial, attempt, in_numbers
from wayside.detectors.drift.settings import Compared
from wayside.detectors.drift.transforms.transform import Transform
from wayside.detectors.drift.windowing.values import Window
from wayside.detectors.kinds.protocol import Arrays, ComparesSamples, Sample, WindowTest
from wayside.eventing.window_findings import Comparison, PartVerdict

_DEFAULTS = ("default", "")
"""What KServe calls the endpoint beside a canary."""


@dataclass(frozen=True, slots=True, eq=False)
class _Group:
    name: str
    rows: NDArray[np.bool_]
    size: int


@dataclass(frozen=True, slots=True, eq=False)
class ComparisonTrial(WindowTrial):
    """Compares the groups of a window; `least_rows` is the least of a group."""

    detector: ComparesSamples
    transform: Transform
    choice: RowChoice
    compared: Compared
    least_rows: int

    def memory(self) -> Arrays | None:
        return None  # groups are compared in each window anew

    def run(self, window: Window, memory: Arrays | None, level: float) -> Trial:
        """The outcome of the group that differs most from the stable one, its p-value corrected for how many there are.

        The stable group is the endpoint `default` where endpoints are compared and it is there, else the one of most
        rows; of two as large the first by name.
        """
        features = Sample(self.transform.apply(window.rows), window.time_s)
        chosen = self.choice.choose(window.rows, features)
        if chosen.error is not None:
            return Trial(None, chosen.error, None, chosen.kept, chosen.missing)
        groups = _groups(window, chosen.kept)
        error = self._refusal(groups)
        if error is not None:
            return Trial(None, error, None, chosen.kept, chosen.missing)
        stable = self._stable(groups)
        others = [group for group in groups if group is not stable]
        found, failure = attempt(lambda: self._compare(features, stable, others))
        if found is None:
            return Trial(None, failure, None, chosen.kept, chosen.missing)
        return self._told(found, stable, others, level, Trial(None, None, None, chosen.kept, chosen.missing))

    def _refusal(self, groups: list[_Group]) -> str | None:
        """Why there is nothing to compare, if there is not."""
        if len(groups) < 2:
            return f"the window has rows of one of the {self.compared.value} alone: there is nothing to compare"
        if self._stable(groups).size < self.least_rows or sum(g.size >= self.least_rows for g in groups) < 2:
            sizes = ", ".join(f"{group.name[:64]!r} has {group.size}" for group in groups[:8])
            return f"of the {self.compared.value} {sizes} rows, and {self.least_rows} are the least to compare"
        return None

    def _stable(self, groups: list[_Group]) -> _Group:
        if self.compared is Compared.ENDPOINTS:
            by_name = {group.name: group for group in groups}
            for name in _DEFAULTS:
                if name in by_name:
                    return by_name[name]
        return max(groups, key=lambda group: group.size)

    def _compare(self, features: Sample, stable: _Group, others: list[_Group]) -> dict[str, WindowTest]:
        reference = features.take(stable.rows)
        return {
            group.name: in_numbers(self.detector.compare(reference, features.take(group.rows)))
            for group in others
            if group.size >= self.least_rows
        }

    def _told(
        self, tests: dict[str, WindowTest], stable: _Group, others: list[_Group], level: float, trial: Trial
    ) -> Trial:
        corrected = adjusted(np.array([test.p_value for test in tests.values()]))
        p_values = dict(zip(tests, corrected.tolist(), strict=True))
        parts = tuple(self._part(group, tests.get(group.name), p_values.get(group.name), level) for group in others)
        first = min(tests, key=lambda name: (p_values[name], -tests[name].statistic, name))
        seen = next(group.rows for group in others if group.name == first)
        comparison = Comparison(stable.name, stable.size, parts)
        test = _corrected(tests[first], p_values[first], tests)
        return replace(trial, test=test, kept=seen, comparison=comparison, against=stable.rows)

    def _part(self, group: _Group, test: WindowTest | None, p_value: float | None, level: float) -> PartVerdict:
        if test is None or p_value is None:
            return PartVerdict(group.name, False, None, None, group.size, f"{self.least_rows} rows are the least")
        is_drift = p_value <= level and level > 0
        return PartVerdict(group.name, is_drift, p_value, test.statistic, group.size)


def _groups(window: Window, kept: NDArray[np.bool_]) -> list[_Group]:
    """Those that have rows to test, by name."""
    found = []
    for at in sorted(range(len(window.group_names)), key=window.group_names.__getitem__):
        rows = (window.groups == at) & kept
        if size := int(rows.sum()):
            found.append(_Group(window.group_names[at], rows, size))
    return found


def _corrected(test: WindowTest, p_value: float, tests: dict[str, WindowTest]) -> WindowTest:
    many = len(tests)
    return replace(
        test,
        p_value=p_value,
        feature_p_value=np.minimum(test.feature_p_value * many, 1.0),
        least_p_value=many * max(each.least_p_value for each in tests.values()),
    )
