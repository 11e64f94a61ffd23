"""alibi-detect's drift tests on saved trials: runs in .venvs/alibi, by scripts/bench drift-power and drift-budget."""

import os
import sys
from pathlib import Path

os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_USE_LEGACY_KERAS": "1", "OMP_NUM_THREADS": "1"}

import numpy as np


def make(peer: str, reference: np.ndarray, level: float) -> object:
    """The detector as a user makes it: defaults, and its permutations' number where it has some."""
    from alibi_detect import cd

    reference = reference.astype(np.float32)
    if peer in ("MMDDrift", "LSDDDrift"):
        return getattr(cd, peer)(reference, backend="tensorflow", p_val=level, n_permutations=100)
    if peer == "ClassifierDrift":
        from sklearn.linear_model import LogisticRegression

        return cd.ClassifierDrift(
            reference, LogisticRegression(max_iter=200), backend="sklearn", p_val=level, n_folds=3
        )
    return getattr(cd, peer)(reference, p_val=level)


def judge(detector: object, rows: np.ndarray) -> tuple[float, float, float]:
    """The p-value of the window (the least of the columns'), the largest distance, and the decision."""
    data = detector.predict(rows.astype(np.float32))["data"]  # type: ignore[attr-defined]
    return float(np.min(data["p_val"])), float(np.max(data["distance"])), float(data["is_drift"])


def main() -> None:
    peer, folder = sys.argv[1], Path(sys.argv[2])
    level = float(sys.argv[3]) if len(sys.argv) > 3 else 0.05
    files = sorted(folder.glob("*.npz"))
    for number, path in enumerate(files):
        trial = np.load(path, allow_pickle=False)
        detector = make(peer, trial["reference"], level)
        np.save(folder / f"{path.stem}.{peer}.npy", np.array([judge(detector, rows) for rows in trial["windows"]]))
        print(f"alibi-detect {peer}: {number + 1} of {len(files)}", file=sys.stderr)


if __name__ == "__main__":
    main()
