"""ADBench's tables: ROC-AUC and average precision of each kind, and of PyOD's in the same splits.

Source: Han et al., "ADBench: anomaly detection benchmark", NeurIPS 2022.
Invariant: a split follows from its table and its seed; detectors are fitted on ordinary rows alone, and both houses are
given the same rows in the same scale.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from detectors_data import Labelled, Mask
from detectors_document import Grid, number
from detectors_scorers import OURS, PYOD, Scores
from sklearn.metrics import average_precision_score, roc_auc_score

from wayside.detectors.tabular.preprocessing import Preprocessing
from wayside.detectors.tabular.schema import Schema

_FIT_SHARE = 0.6  # of the ordinary rows; the others are tested, beside every outlier
_DIGITS = 3


def write_splits(tables: Sequence[Labelled], seeds: int, folder: Path) -> None:
    """A split a table and seed, as detectors_scores.py reads them, with the `truth` of what is tested."""
    for table in tables:
        for seed in range(seeds):
            np.savez(folder / f"{table.name}.{seed}.npz", **_split(table, seed))


def _split(table: Labelled, seed: int) -> dict[str, Any]:
    order = np.random.default_rng(seed).permutation(len(table.ordinary))
    fitting, fresh = np.split(table.ordinary[order], [round(_FIT_SHARE * len(order))])
    preprocessing = Preprocessing.fit(Schema.of_width(table.rows.shape[1]), fitting)
    test = np.concatenate([fresh, table.outliers])
    truth = np.arange(len(test)) >= len(fresh)
    return {
        "fit": preprocessing.apply(fitting),
        "test": preprocessing.apply(test),
        "truth": truth,
        "seed": np.array(seed),
    }


@dataclass(frozen=True, slots=True)
class Quality:
    """Of one detector in one split, or means of them."""

    auc: float
    precision: float

    @classmethod
    def of(cls, truth: Mask, scores: np.ndarray) -> "Quality":
        finite = np.nan_to_num(scores)
        return cls(float(roc_auc_score(truth, finite)), float(average_precision_score(truth, finite)))

    @classmethod
    def mean(cls, each: Sequence["Quality"]) -> "Quality":
        return cls(float(np.mean([one.auc for one in each])), float(np.mean([one.precision for one in each])))


class Comparison:
    """The qualities of every kind of both houses, by table."""

    def __init__(self, splits: Path, kinds: Sequence[str], scores: Scores) -> None:
        self.kinds = kinds
        self._by_table = dict(_measure(splits, kinds, scores))
        self.tables = list(dict.fromkeys(table for _, _, table in self._by_table))

    def of(self, house: str, kind: str, table: str) -> Quality | None:
        return self._by_table.get((house, kind, table))

    def mean(self, house: str, kind: str) -> Quality | None:
        """Over all tables; None where one is wanting."""
        each = [self.of(house, kind, table) for table in self.tables]
        return Quality.mean([one for one in each if one]) if each and all(each) else None

    def means(self) -> Grid:
        """A line a kind."""
        columns = ("kind", "ROC-AUC", "PyOD's", "AP", "PyOD's", "not lower")
        return Grid(columns, tuple(self._mean_line(kind) for kind in self.kinds))

    def _mean_line(self, kind: str) -> tuple[str, ...]:
        ours, theirs = self.mean(OURS, kind), self.mean(PYOD, kind)
        figures = [number(getattr(one, what, None), _DIGITS) for what in ("auc", "precision") for one in (ours, theirs)]
        return (kind, *figures, verdict(ours, theirs))

    def by_table(self) -> Grid:
        """ROC-AUC, ours and PyOD's, a line a table."""
        lines = [(table, *(self._pair(kind, table) for kind in self.kinds)) for table in self.tables]
        return Grid(("table", *self.kinds), tuple(lines))

    def _pair(self, kind: str, table: str) -> str:
        pair = (self.of(OURS, kind, table), self.of(PYOD, kind, table))
        return " / ".join(number(getattr(one, "auc", None), _DIGITS) for one in pair)


def verdict(ours: Quality | None, theirs: Quality | None) -> str:
    """Whether both means are at least PyOD's, to the digits that are shown."""
    if ours is None or theirs is None:
        return ""
    lower = [
        name
        for name, mine, other in (("AUC", ours.auc, theirs.auc), ("AP", ours.precision, theirs.precision))
        if round(mine, _DIGITS) < round(other, _DIGITS)
    ]
    return f"LOWER: {' and '.join(lower)}" if lower else "met"


def _measure(splits: Path, kinds: Sequence[str], scores: Scores) -> Iterator[tuple[tuple[str, str, str], Quality]]:
    truths = {path.stem: np.load(path)["truth"] for path in sorted(splits.glob("*.npz"))}
    tables = dict.fromkeys(name.rpartition(".")[0] for name in truths)
    for house in (OURS, PYOD):
        for kind in kinds:
            for table in tables:
                names = [name for name in truths if name.rpartition(".")[0] == table]
                found = [(truths[name], scores.of(house, kind, name)) for name in names]
                each = [Quality.of(truth, given) for truth, given in found if given is not None]
                if len(each) == len(names):
                    yield (house, kind, table), Quality.mean(each)
