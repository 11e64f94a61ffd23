"""What a statistic of a window is where nothing drifts, for this one reference: learnt from its held-out windows.

Source: a fixed reference makes a test's level conditional on it; windows drawn from rows of that reference which the
statistic does not hold show that very level, where permutations give one that holds on average over references.
A mean of n of M rows, drawn without replacement, has 1 - n/M of the variance of one of new rows, and so has a quadratic
statistic of its deviation; that is put right, and half as much again is allowed for the chance in the M rows.
Stretches that begin anywhere, of twice the rows that are alike, cut such rows apart at their ends: of a block of b rows
in stretches of 2b that costs a sixth of the design effect, which the deviation makes up for.
Invariant: a p-value depends on the statistic and the window's size alone; between two sizes it is the larger of both.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from wayside.detectors.kernels.tails import Tail
from wayside.detectors.kinds.protocol import Array, Arrays, Matrix, Progress, Vector
from wayside.eventing.errors import ConfigurationError

Indices = NDArray[np.intp]
Measure = Callable[[Indices], float]
"""The statistic of the held-out rows at these indices."""
Draw = Callable[[int, np.random.Generator], Indices]
"""A window of so many held-out rows."""


@dataclass(frozen=True, slots=True)
class Pool:
    """Held-out rows, how windows are drawn of them, and by how much these scatter less than real ones. `own_chance` is
    how much of a window's share of the rows is allowed for the chance in them."""

    rows: int
    draw: Draw
    widened: float = 1.0
    own_chance: float = 0.5


SMALLEST_ROWS = 10
LEAST_WINDOWS = 5
"""Of the largest size, so many windows' rows are held out at least."""

_FULL_ROWS = 256  # larger windows are dear: fewer of them are drawn
_LEAST_DRAWS = 2000
_CUT_ENDS = 1.2


@dataclass(frozen=True, slots=True, eq=False)
class _Law:
    """Of windows of one size: how the statistic lies, and its draws, standardised."""

    rows: int
    mean: float
    deviation: float
    tail: Tail


class CalibratedNull:
    """The law of the statistic for windows of up to `largest` rows."""

    def __init__(self, laws: Sequence[_Law]) -> None:
        if not laws:
            raise ValueError("a null without any window")
        self._laws = tuple(laws)
        self._logs = np.log([law.rows for law in laws])

    @property
    def least_rows(self) -> int:
        """Smaller windows were never drawn."""
        return self._laws[0].rows

    @property
    def largest(self) -> int:
        """No window has more rows that are measured."""
        return self._laws[-1].rows

    @property
    def draws(self) -> int:
        """Windows of the largest size that were drawn."""
        return len(self._laws[-1].tail.draws)

    @classmethod
    def learn(cls, measure: Measure, pool: Pool, largest: int, draws: int, seed: int, progress: Progress) -> Self:
        """From windows that are drawn of the held-out rows that `measure` knows."""
        sizes = _ladder(largest)
        counts = [_draws_of(size, draws, size == largest) for size in sizes]
        total, done, laws = sum(counts), 0, []
        random = np.random.default_rng(seed)
        for size, count in zip(sizes, counts, strict=True):
            drawn = np.empty(count)
            for at in range(count):
                drawn[at] = measure(pool.draw(size, random))
                done += 1
                if done % 500 == 0 or done == total:
                    progress("calibrating windows", done, total)
            laws.append(_law(size, drawn, size / pool.rows, pool))
        return cls(laws)

    def p_value(self, statistic: float, rows: int) -> float:
        """For the statistic of a window of so many rows, `least_rows` to `largest`."""
        at = float(np.log(rows))
        mean = float(np.interp(at, self._logs, [law.mean for law in self._laws]))
        deviation = float(np.exp(np.interp(at, self._logs, [np.log(law.deviation) for law in self._laws])))
        above = min(int(np.searchsorted(self._logs, at, "left")), len(self._laws) - 1)
        nearest = {above} if self._laws[above].rows == rows or above == 0 else {above - 1, above}
        return max(self._laws[each].tail.p_value((statistic - mean) / deviation) for each in nearest)

    def arrays(self, prefix: str) -> dict[str, Array]:
        """All of it, under names that begin with `prefix`."""
        return {
            f"{prefix}.rows": np.array([[law.rows, len(law.tail.draws)] for law in self._laws], np.int64),
            f"{prefix}.moments": np.array([[law.mean, law.deviation] for law in self._laws]),
            f"{prefix}.draws": np.concatenate([law.tail.draws for law in self._laws]).astype(np.float32),
        }

    @classmethod
    def restore(cls, arrays: Arrays, prefix: str) -> Self:
        """What `arrays` gave. Raises `KeyError` or `ValueError`."""
        rows, moments = arrays[f"{prefix}.rows"], arrays[f"{prefix}.moments"]
        parts = np.split(arrays[f"{prefix}.draws"], np.cumsum(rows[:, 1])[:-1])
        if moments.shape != rows.shape or any(
            len(part) != count for part, count in zip(parts, rows[:, 1], strict=True)
        ):
            raise ValueError(f"{prefix!r} has windows of shape {rows.shape} and moments of {moments.shape}")
        found = zip(rows[:, 0], moments, parts, strict=True)
        return cls([_Law(int(size), float(mean), float(spread), Tail.of(part)) for size, (mean, spread), part in found])


def without_replacement(rows: int) -> Pool:
    """Windows of any of the rows, each at most once."""

    def draw(size: int, random: np.random.Generator) -> Indices:
        return random.choice(rows, size, replace=False, shuffle=False)

    return Pool(rows, draw)


def in_stretches(rows: int, stretch: int) -> Pool:
    """Windows of stretches of so many successive rows, that begin anywhere and of which none is in a window twice;
    where it is 1, of any rows."""
    if stretch == 1:
        return without_replacement(rows)

    def draw(size: int, random: np.random.Generator) -> Indices:
        length = min(stretch, size)
        starts = random.choice(rows // length, -(-size // length), replace=False) * length + random.integers(rows)
        found: Indices = ((starts[:, None] + np.arange(length)).ravel()[:size] % rows).astype(np.intp)
        return found

    return Pool(rows, draw, _CUT_ENDS)


def largest_window(kind: str, window_rows: int | None, most_rows: int, held: int) -> int:
    """The rows of the largest window that is measured. Raises `ConfigurationError` where the held-out rows are too few
    for one of `window_rows`; windows that are spans of time are measured by as many as they allow."""
    if window_rows is None:
        wanted = min(most_rows, held // LEAST_WINDOWS)
        if wanted < SMALLEST_ROWS:
            raise ConfigurationError(
                f"{kind} has {held} rows to draw windows from, and needs {LEAST_WINDOWS * SMALLEST_ROWS}: give more"
            )
        return wanted
    wanted = min(window_rows, most_rows)
    if wanted < 2 or held < LEAST_WINDOWS * wanted:
        raise ConfigurationError(
            f"{kind} would calibrate windows of {wanted} rows on {held} held-out ones, and needs"
            f" {LEAST_WINDOWS * wanted}: give a reference of {20 * wanted} rows, smaller windows, or where the kind has"
            " it null=permutation, which holds on average over references"
        )
    return wanted


def thinned(rows: Matrix, most: int) -> NDArray[np.intp]:
    """Which rows of a window are measured: all, or `most` of them at even distances."""
    count = len(rows)
    return np.arange(count) if count <= most else np.linspace(0, count - 1, most).astype(np.intp)


def _ladder(largest: int) -> tuple[int, ...]:
    """Sizes for which the law is learnt: the largest, and its halves, in rising order."""
    sizes = [largest]
    while sizes[-1] // 2 >= SMALLEST_ROWS:
        sizes.append(sizes[-1] // 2)
    return tuple(reversed(sizes))


def _draws_of(size: int, draws: int, is_largest: bool) -> int:
    """Fewer of the smaller sizes, which windows seldom have, and of those that are dear."""
    if not is_largest:
        return min(draws, max(draws // 8, _LEAST_DRAWS // 2))
    least = min(draws, _LEAST_DRAWS)
    return max(least, min(draws, int(draws * (_FULL_ROWS / size) ** 2)))


def _law(size: int, drawn: Vector, share: float, pool: Pool) -> _Law:
    """`share` is that of the held-out rows which one window takes."""
    mean = float(drawn.mean())
    spread = float(drawn.std()) / (1.0 - share) * (1.0 + pool.own_chance * share) * pool.widened
    deviation = max(spread, 1e-9 * max(1.0, abs(mean)))
    standard = ((drawn - mean) / max(float(drawn.std()), 1e-300)).astype(np.float32)
    return _Law(size, mean, deviation, Tail.of(standard.astype(np.float64)))  # as it is restored
