"""Null streams: how many alarms a test raises where nothing drifts, a reference redrawn for each stream.

Invariant: the rows of a reference are in no window of its stream; windows of one pass over the pool share no row; a
detector is fitted by its own `fit` alone, and what it says is compared with the level that it was to keep.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from drift_data import Matrix, Population

from wayside.detectors.fitting.kind_options import options_of
from wayside.detectors.kinds.protocol import (
    Execution,
    Sample,
    SequentialDetector,
    Vector,
    WindowDetector,
    WindowFitContext,
)
from wayside.detectors.kinds.registry import window_detector
from wayside.detectors.tabular.preprocessing import Preprocessing
from wayside.detectors.tabular.schema import Schema
from wayside.detectors.tabular.table import Table

LEAST_POOL_WINDOWS = 200
ANY_FEATURE_LEVEL = 0.05


@dataclass(frozen=True, slots=True)
class Case:
    """A kind on a population: `ratio` windows of `window` rows make the reference. `block` rows are drawn together, as
    they lie in the file; 1 draws rows one by one. `options` are the kind's own."""

    kind: str
    population: str
    window: int = 200
    ratio: int = 20
    block: int = 1
    level: float = 0.01
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def words(self) -> str:
        """For a table's line."""
        chosen = "".join(f", {name}={value}" for name, value in self.options.items())
        return f"{self.kind}{chosen}"


@dataclass(frozen=True, slots=True)
class Counts:
    """What one stream came to. `any_feature` counts windows with a column at p ≤ 0.05, -1 where the test has no view of
    columns; `unresolved` those whose level the test could not tell."""

    windows: int
    alarms: int
    any_feature: int
    expected: float
    unresolved: int = 0

    @property
    def ratio(self) -> float:
        """False alarms for each that the budget allows."""
        return self.alarms / self.expected


def draw(population: Population, case: Case, seed: int) -> tuple[Matrix, Iterator[Matrix]]:
    """A reference, in the order of its blocks, and windows without end. Raises `SystemExit` for too small a pool."""
    rng = np.random.default_rng([seed, case.block])
    starts = np.arange(0, len(population.rows) - case.block + 1, case.block)
    order = rng.permutation(starts)
    held = case.ratio * case.window // case.block
    pool = order[held:]
    if len(pool) * case.block < LEAST_POOL_WINDOWS * case.window:
        raise SystemExit(f"bench: {population.name} leaves {len(pool) * case.block} rows for windows of {case.window}")
    rows = partial(_rows_at, population.rows, case.block)
    return rows(order[:held]), _windows(rows, pool, case.window // case.block, rng)


def _rows_at(rows: Matrix, block: int, starts: Any) -> Matrix:
    return rows[(starts[:, None] + np.arange(block)).ravel()]


def _windows(rows: Callable[[Any], Matrix], pool: Any, blocks: int, rng: np.random.Generator) -> Iterator[Matrix]:
    while True:
        shuffled = rng.permutation(pool)
        for first in range(0, len(shuffled) - blocks + 1, blocks):
            yield rows(shuffled[first : first + blocks])


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """A detector and what rows are put through before it."""

    detector: WindowDetector
    prepare: Callable[[Matrix], Matrix]

    @classmethod
    def of(cls, case: Case, population: Population, reference: Matrix, seed: int) -> "Fitted":
        kind = window_detector(case.kind)
        prepare = _prepare(kind.transform, population, reference)
        context = WindowFitContext(seed, window_rows=case.window, categories=population.categories, level=case.level)
        sample = Sample.untimed(prepare(reference))
        fitted = kind.fit(sample, options_of(case.kind, case.options), context)
        return cls(kind.restore(fitted.state(), Execution()), prepare)  # as a service has it

    def p_values(
        self, windows: Iterator[Matrix], level: Callable[[int], float]
    ) -> Iterator[tuple[float, Vector, float]]:
        """p-value, columns' p-values and the least p-value of each window; a memory starts anew after an alarm."""
        detector = self.detector
        is_sequential = isinstance(detector, SequentialDetector)
        memory = detector.memory() if is_sequential else None
        for number, rows in enumerate(windows):
            sample = Sample.untimed(self.prepare(rows))
            if is_sequential:
                test, memory = detector.advance(memory, sample)
                if test.p_value <= level(number):
                    memory = detector.memory()
            else:
                test = detector.test(sample)
            yield test.p_value, test.feature_p_value, test.least_p_value


def _prepare(transform: str, population: Population, reference: Matrix) -> Callable[[Matrix], Matrix]:
    if transform == "columns":
        return lambda rows: rows
    texts = {at: tuple(map(str, range(count))) for at, count in enumerate(population.categories) if count}
    schema = Schema.of(Table(reference, None, texts))
    return Preprocessing.fit(schema, reference).apply


def run_stream(case: Case, population: Population, seed: int, windows: int) -> Counts:
    """Alarms among `windows` windows of one stream at one level a window."""
    reference, drawn = draw(population, case, seed)
    fitted = Fitted.of(case, population, reference, seed)
    return count(fitted, drawn, np.full(windows, case.level))


def run_weeks(case: Case, population: Population, seed: int, weeks: int, windows_a_week: int) -> Counts:
    """Alarms over weeks of event time with a budget of one a week: traffic follows the hours, so levels differ."""
    reference, drawn = draw(population, case, seed)
    fitted = Fitted.of(case, population, reference, seed)
    return count(fitted, drawn, week_levels(weeks, windows_a_week, np.random.default_rng([seed, 7])))


def week_levels(weeks: int, windows_a_week: int, rng: np.random.Generator) -> Vector:
    """The share of a week between the ends of windows whose traffic is ten times as dense by day as by night."""
    hours = np.arange(weeks * 168)
    density = 1 + 4.5 * (1 - np.cos(2 * np.pi * (hours % 24) / 24))
    arrived = np.concatenate([[0.0], np.cumsum(density / density.mean() * windows_a_week / 168)])
    ends = np.arange(1, weeks * windows_a_week) + rng.uniform(-0.3, 0.3, weeks * windows_a_week - 1)
    times = np.interp(ends, arrived, np.arange(len(arrived)) / 168.0)
    levels: Vector = np.diff(np.concatenate([[0.0], times]))
    return np.minimum(levels, 0.05)


def count(fitted: Fitted, windows: Iterator[Matrix], levels: Vector) -> Counts:
    alarms = any_feature = unresolved = done = 0
    found = fitted.p_values(windows, lambda number: float(levels[number]))
    for level, (p_value, columns, least) in zip(levels.tolist(), found, strict=False):
        alarms += p_value <= level
        any_feature += bool(len(columns)) and bool(columns.min() <= ANY_FEATURE_LEVEL)
        unresolved += least > level
        done += 1
    return Counts(done, alarms, any_feature if len(columns) else -1, float(levels.sum()), unresolved)
