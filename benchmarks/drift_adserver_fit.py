"""Fits the drift detectors that adserver serves, and times MMD's test. Run by .venvs/adserver's Python.

Usage: drift_adserver_fit.py ROWS.npy OUT: rows of shape (n, d). It writes OUT/ks and OUT/mmd as `save_detector` does,
each with the first 1 000 rows as its reference, and OUT/mmd.seconds, the median time of a test of 1 000 rows.
"""

import os
import sys
import time
from pathlib import Path

os.environ |= {"TF_USE_LEGACY_KERAS": "1", "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}

import numpy as np
from alibi_detect.cd import KSDrift, MMDDrift
from alibi_detect.saving import save_detector

ROWS, PERMUTATIONS, TIMES = 1000, 100, 3


def main() -> None:
    rows, out = np.load(sys.argv[1]).astype(np.float32), Path(sys.argv[2])
    save_detector(KSDrift(rows[:ROWS], p_val=0.05), out / "ks")
    mmd = MMDDrift(rows[:ROWS], backend="tensorflow", n_permutations=PERMUTATIONS)
    save_detector(mmd, out / "mmd")
    window = rows[ROWS : 2 * ROWS]
    mmd.predict(window)  # what is traced and compiled is paid for here
    taken_s = []
    for _ in range(TIMES):
        start_s = time.perf_counter()
        mmd.predict(window)
        taken_s.append(time.perf_counter() - start_s)
    (out / "mmd.seconds").write_text(str(np.median(taken_s)))


if __name__ == "__main__":
    main()
