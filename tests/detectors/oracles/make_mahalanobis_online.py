"""Says how alibi-detect's online Mahalanobis scores a stream of batches, for each setting; it starts without a memory.

Run by .venvs/alibi's Python with the file to write: `batches` is the number of rows of each batch, `rows` all of them,
and NAME is their scores, NAME being the number of components and max_n. Batches have two rows or more: for one row
alibi-detect divides the scatter by n + 1 in the place of n, so that its covariance falls towards half of the truth.
"""

import os
import sys

os.environ |= {"TF_USE_LEGACY_KERAS": "1", "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}

import numpy as np
from alibi_detect.od import Mahalanobis

BATCHES = [2, 3, 40, 16, 64, 256, 2, 5, 300, 17]
FEATURES = 6


def make_rows() -> np.ndarray:
    """Rows of unequal spread, a twentieth of them far off."""
    random = np.random.default_rng(8)
    rows = random.normal(size=(sum(BATCHES), FEATURES)) * np.sqrt(np.linspace(0.5, 4.0, FEATURES)) + 5.0
    return rows + 20.0 * (random.random((len(rows), 1)) < 0.05)


def main(path: str) -> None:
    rows = make_rows()
    parts = np.split(rows, np.cumsum(BATCHES)[:-1])
    found: dict[str, np.ndarray] = {"batches": np.array(BATCHES), "rows": rows}
    for components in (1, 2, 3, 6):
        for max_n in (0, 50):
            theirs = Mahalanobis(0.0, n_components=components, std_clip=3, start_clip=100, max_n=max_n or None)
            found[f"{components}-{max_n}"] = np.concatenate([theirs.score(part) for part in parts])
    np.savez_compressed(path, **found)


if __name__ == "__main__":
    main(sys.argv[1])
