"""Detection quality: AUC and F1 of the row detectors on labelled outliers, and the false-alarm rate they keep.

Invariant: a detector sees ordinary rows alone when it is fitted; it is measured on rows that took no part in the fit.
Data: /work/shared/data (ADBench's tables and MNIST), or --data; without it this says so and ends with status 0.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import f1_score, roc_auc_score

from wayside.detectors.calibration import rows_needed
from wayside.detectors.fit import FitSettings, fit_artifact
from wayside.detectors.judge import RowJudge
from wayside.eventing.errors import ConfigurationError

Matrix = NDArray[np.float64]
KINDS = ("knn", "mahalanobis")
ALPHAS = (0.01, 0.05, 0.1)
MNIST_ROWS = 3000


def tables(data: Path) -> Iterator[tuple[str, Matrix, NDArray[np.bool_]]]:
    """Name, rows, and which of them are outliers."""
    for path in sorted((data / "adbench").glob("*.npz")):
        with np.load(path, allow_pickle=False) as table:
            yield path.stem, table["X"].astype(np.float64), table["y"].astype(bool)
    mnist = data / "mnist" / "mnist_train.npz"
    if mnist.exists():
        yield "mnist: 7 among 1", *mnist_pair(mnist)


def mnist_pair(path: Path) -> tuple[Matrix, NDArray[np.bool_]]:
    """Ones as ordinary rows, a tenth as many sevens as outliers, at half the resolution."""
    with np.load(path, allow_pickle=False) as images:
        pixels, labels = images["x"], images["y"]
    ones, sevens = pixels[labels == 1][:MNIST_ROWS], pixels[labels == 7][: MNIST_ROWS // 10]
    chosen = np.concatenate([ones, sevens]).astype(np.float64)
    halved = chosen.reshape(-1, 14, 2, 14, 2).mean(axis=(2, 4)).reshape(len(chosen), -1)
    return halved, np.arange(len(chosen)) >= len(ones)


def measure(kind: str, rows: Matrix, outlier: NDArray[np.bool_]) -> str:
    """One line's worth: AUC, F1 at the calibrated threshold, false alarms asked for and measured."""
    order = np.random.default_rng(0).permutation(np.flatnonzero(~outlier))
    fitting, fresh = np.split(order, [round(0.7 * len(order))])
    alpha = next((alpha for alpha in ALPHAS if round(len(fitting) / 2) >= rows_needed(alpha)), None)
    if alpha is None:
        return "too few rows"
    try:
        judge = RowJudge.of(fit_artifact(kind, rows[fitting], FitSettings(alpha=alpha)).artifact)
    except ConfigurationError as exc:
        return str(exc)
    tested = np.concatenate([fresh, np.flatnonzero(outlier)])
    scores = judge.score(rows[tested])
    flagged = np.array(judge.verdict(scores).decisions)
    truth = outlier[tested]
    auc, f1 = roc_auc_score(truth, scores), f1_score(truth, flagged)
    return f"{auc:6.3f} {f1:6.3f} {alpha:6.2f} {flagged[~truth].mean():8.4f}"


def main() -> int:
    parser = argparse.ArgumentParser(description="Detection quality on labelled outliers.")
    parser.add_argument("--data", type=Path, default=Path("/work/shared/data"))
    data = parser.parse_args().data
    found = list(tables(data))
    if not found:
        print(f"no data in {data}: nothing is measured (see --data)")
        return 0
    print(f"{'table':20} {'kind':12} {'AUC':>6} {'F1':>6} {'alpha':>6} {'measured':>8}")
    for name, rows, outlier in found:
        for kind in KINDS:
            print(f"{name[:20]:20} {kind:12} {measure(kind, rows, outlier)}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
