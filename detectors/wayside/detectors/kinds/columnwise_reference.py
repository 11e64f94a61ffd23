"""What the tests by column hold of the rows that they were fitted on: values and counts, what these can promise, and
how rows and columns of windows without drift hang together.

Source: `two_sample/reference_size.py`, `nulls/dependence.py`, `nulls/joint.py`.
Invariant: `arrays` and `restore` are inverse to each other.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Self

import numpy as np

from wayside.detectors.kinds.protocol import Arrays, Matrix, Sample, Vector, WindowFitContext
from wayside.detectors.nulls.dependence import design_effects
from wayside.detectors.nulls.joint import JointNull
from wayside.detectors.two_sample.reference import ReferenceColumns
from wayside.detectors.two_sample.reference_size import ReferenceSize
from wayside.eventing.errors import ConfigurationError

_LEAST_ROWS = 2
_REFERENCE_ROWS = 200_000
_MOST_ROWS = 1 << 24
_LEAST_DRAWS, _MOST_DRAWS = 100, 100_000
_ALIKE_TOGETHER, _ALIKE_ALONE = 1.15, 1.6  # of 20 windows of independent rows: a mean, a column, that is seldom met
_ALIKE = 1.5
_LEAST_WINDOW, _SHARE = 20, 20
_MOST_DRAWN_ROWS, _FEWEST_DRAWS = 1 << 23, 200  # so that large windows are drawn less often
_LARGER = 1.5  # than the drawn windows: columns of few values are less conservative then, and their law is another


@dataclass(frozen=True, slots=True)
class ReferenceOptions:
    """The reference is at most `reference_rows` of the rows, drawn by seed. `draws` windows of it tell how columns move
    together; 0 corrects for their number instead (Bonferroni). `dependence` false takes all rows for independent."""

    reference_rows: int = _REFERENCE_ROWS
    draws: int = 1000
    dependence: bool = True

    def __post_init__(self) -> None:
        if not _LEAST_ROWS <= self.reference_rows <= _MOST_ROWS:
            raise ConfigurationError(f"reference_rows is {self.reference_rows}: give {_LEAST_ROWS} to {_MOST_ROWS}")
        if self.draws and not _LEAST_DRAWS <= self.draws <= _MOST_DRAWS:
            raise ConfigurationError(f"draws is {self.draws}: give {_LEAST_DRAWS} to {_MOST_DRAWS}, or 0 for none")


@dataclass(frozen=True, slots=True, eq=False)
class Held:
    """`effects` (d,) are columns' design effects, None where rows are independent; `joint` is the law of the least
    p-value in windows of `drawn_rows`, None for Bonferroni's."""

    columns: ReferenceColumns
    size: ReferenceSize
    effects: Vector | None = None
    joint: JointNull | None = None
    drawn_rows: int = 0

    def joint_of(self, window_rows: int) -> JointNull | None:
        """The joint law that holds for a window of so many rows; None where there is none but Bonferroni's."""
        return self.joint if window_rows <= _LARGER * self.drawn_rows else None

    @classmethod
    def of(cls, kind: str, reference: Sample, options: ReferenceOptions, context: WindowFitContext) -> Self:
        """Without the joint law. Raises `ConfigurationError` where there are too few rows."""
        rows = reference.rows
        if len(rows) < _LEAST_ROWS:
            raise ConfigurationError(
                f"{kind} needs at least {_LEAST_ROWS} rows as its reference, there are {len(rows)}"
            )
        effects = _effects(rows, context) if options.dependence else None
        if len(rows) > options.reference_rows:
            drawn = np.random.default_rng(context.seed).choice(len(rows), options.reference_rows, replace=False)
            rows = rows[drawn]
        size = ReferenceSize(len(rows), context.window_rows, context.level)
        return cls(ReferenceColumns.of(rows), size, effects)

    @property
    def is_alike(self) -> bool:
        """Whether rows that lie together are clearly alike, in most columns. Windows drawn of such a reference are made
        of few pieces, and promise too much: its columns are corrected for by their number."""
        return self.effects is not None and float(np.median(self.effects)) > _ALIKE

    def described(self) -> str:
        """One line for people."""
        return "; ".join([self.size.described(), *self._dependence()])

    def _dependence(self) -> Sequence[str]:
        if self.effects is None:
            return ()
        most = float(self.effects.max())
        return (f"rows that lie together are alike: up to {most:.1f} of them say as much as one, and are counted so",)

    def arrays(self) -> Arrays:
        arrays = {**self.columns.arrays(), "size": self.size.array()}
        if self.effects is not None:
            arrays["effects"] = self.effects
        if self.joint is not None:
            arrays |= {"least": self.joint.least, "drawn_rows": np.array(self.drawn_rows)}
        return arrays

    @classmethod
    def restore(cls, arrays: Arrays) -> Self:
        """What gave `arrays`. Raises `KeyError` or `ValueError` where they are not of a reference."""
        columns, effects, least = ReferenceColumns.restore(arrays), arrays.get("effects"), arrays.get("least")
        if effects is not None and (effects.shape != (len(columns),) or not (effects >= 1).all()):
            raise ValueError(f"'effects' of {len(columns)} columns has shape {effects.shape}, or one below 1")
        joint = None if least is None else JointNull.of(least, len(columns))
        drawn_rows = 0 if joint is None else int(arrays["drawn_rows"])
        return cls(columns, ReferenceSize.restore(arrays["size"]), effects, joint, drawn_rows)


def drawn_windows(reference: Sample, options: ReferenceOptions, context: WindowFitContext) -> Iterator[Matrix]:
    """Windows drawn row by row of the reference, with replacement, each of the rows that windows have."""
    rows, size = reference.rows, usual_window(len(reference), context)
    rng = np.random.default_rng([context.seed, 3])
    for _ in range(max(min(options.draws, _FEWEST_DRAWS), min(options.draws, _MOST_DRAWN_ROWS // size))):
        yield rows[rng.integers(0, len(rows), size)]


def usual_window(rows: int, context: WindowFitContext) -> int:
    """Rows of a window for what is drawn: those that windows have, where that is known."""
    return context.window_rows or max(_LEAST_WINDOW, rows // _SHARE)


def _effects(rows: Matrix, context: WindowFitContext) -> Vector | None:
    """What is told apart from chance: by the columns together, or by one that stands out. Of that the doubt is added
    which so few windows leave: where one thing moves all rows of a window, its square varies by twice its mean's."""
    size = usual_window(len(rows), context)
    found = design_effects(rows, size, context.categories)
    seen = np.ones(len(found), np.bool_) if found.mean() > _ALIKE_TOGETHER else found > _ALIKE_ALONE
    doubt = sqrt(2.0 / max(1.0, len(rows) / size))
    effects: Vector = np.where(seen, 1.0 + (found - 1.0) * (1.0 + doubt), 1.0)
    return effects if (effects > 1.0).any() else None


def refuse_many_values(kind: str, reference: ReferenceColumns, limits: Sequence[int], instead: str) -> None:
    """Raises `ConfigurationError` that names the first column of more distinct values than it may have."""
    for at, (column, limit) in enumerate(zip(reference.columns, limits, strict=True)):
        if not column.at_most(limit):
            raise ConfigurationError(
                f"column {at + 1} has {len(column.values)} distinct values, {kind} takes {limit}: {instead}"
            )
