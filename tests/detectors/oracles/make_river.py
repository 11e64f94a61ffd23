"""Writes river.npz: the rows at which river's ADWIN and DDM say drift, each starting afresh after it.

Run with river installed: python tests/detectors/oracles/make_river.py   (made with river 0.26.1)
"""

from pathlib import Path

import numpy as np
from river.drift import ADWIN, KSWIN
from river.drift.binary import DDM
from scipy.stats import ks_2samp

OUT = Path(__file__).with_name("river.npz")


def alarms(make, values) -> np.ndarray:
    detector, found = make(), []
    for row, value in enumerate(values.tolist()):
        detector.update(value)
        if detector.drift_detected:
            found.append(row)
    return np.array(found)


def kswin(values) -> tuple[float, np.ndarray]:
    """The smallest distance of two samples of 40 that it alarms at, and the rows at which it does."""
    fitting = [k / 40 for k in range(1, 41) if ks_2samp(range(40), [i + k - 0.5 for i in range(40)]).pvalue <= 0.001]
    return fitting[0], alarms(lambda: KSWIN(alpha=0.001, window_size=80, stat_size=40), values)


def main() -> None:
    rng = np.random.default_rng(9)
    shares = np.repeat([0.1, 0.35, 0.15, 0.5, 0.2, 0.22, 0.6], 1500)
    labels = (rng.random(len(shares)) < shares).astype(np.float64)
    numbers = np.abs(rng.normal(scale=1 + shares))
    told = {"labels": labels, "numbers": numbers}
    for delta in (0.002, 0.05, 0.3):
        told[f"adwin_labels_{delta}"] = alarms(lambda delta=delta: ADWIN(delta=delta), labels)
        told[f"adwin_numbers_{delta}"] = alarms(lambda delta=delta: ADWIN(delta=delta), numbers)
    told["adwin_clock"] = alarms(lambda: ADWIN(delta=0.01, clock=7, max_buckets=3, min_window_length=12), labels)
    for threshold in (2.0, 3.0):
        told[f"ddm_{threshold}"] = alarms(
            lambda threshold=threshold: DDM(drift_threshold=threshold, warning_threshold=1.5), labels
        )
    # with half of the window as the latest rows river draws all of the other half: its random draw is no draw
    grades = rng.integers(0, 6, size=3000) + np.repeat([0, 1, 0], 1000)
    told["grades"] = grades.astype(np.float64)
    told["kswin_distance"], told["kswin_rows"] = kswin(told["grades"])
    np.savez_compressed(OUT, **told)


if __name__ == "__main__":
    main()
