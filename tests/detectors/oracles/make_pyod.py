"""Writes `pyod.npz`: inputs, and what PyOD 3.6.7 says of them.

    python tests/detectors/oracles/make_pyod.py        in an environment with pyod==3.6.7; Wayside has none

PyOD adds a batch to the rows that it was fitted on before it counts tails, so ECOD and COPOD are asked one row at a
time. The columns are skewed enough that no single row turns the sign of a skew, which Wayside takes from the fit alone.
"""

from pathlib import Path

import numpy as np
from pyod.models.copod import COPOD
from pyod.models.ecod import ECOD
from pyod.models.knn import KNN


def columns(count: int, seed: int) -> np.ndarray:
    """Skewed to the right, to the left, with many ties, and heavily."""
    rng = np.random.default_rng(seed)
    parts = [
        rng.exponential(size=count),
        -rng.exponential(size=count),
        rng.poisson(1.0, count),
        rng.lognormal(size=count),
    ]
    return np.stack(parts, axis=1).astype(np.float64)


def one_by_one(detector: object, rows: np.ndarray) -> np.ndarray:
    return np.array([detector.decision_function(row[None])[0] for row in rows])  # type: ignore[attr-defined]


def main() -> None:
    reference, new = columns(200, 1), columns(40, 2) * 1.1
    rows = np.concatenate([reference, new])
    np.savez(
        Path(__file__).with_name("pyod.npz"),
        reference=reference,
        rows=rows,
        ecod=one_by_one(ECOD().fit(reference), rows),
        copod=one_by_one(COPOD().fit(reference), rows),
        knn=KNN(n_neighbors=7).fit(reference).decision_function(rows),
    )


if __name__ == "__main__":
    main()
