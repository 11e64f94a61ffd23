"""Makes `univariate.npz`: what alibi-detect's univariate drift detectors say of two samples.

Run it with alibi-detect's interpreter, here: `.venvs/alibi/bin/python tests/detectors/oracles/make_univariate.py`.
"""

from pathlib import Path

import numpy as np
from alibi_detect.cd import ChiSquareDrift, CVMDrift, FETDrift, KSDrift, TabularDrift

ROWS, WINDOW = 2000, 300


def main() -> None:
    rng = np.random.default_rng(20)
    numbers = [rng.normal(size=(rows, 4)) + moved for rows, moved in ((ROWS, 0.0), (WINDOW, [0.0, 0.1, 0.2, 0.3]))]
    categories = [rng.choice(5, size=(rows, 2), p=[0.1, 0.15, 0.2, 0.25, 0.3]) for rows in (ROWS, WINDOW)]
    binary = [(rng.random((rows, 2)) < share).astype(int) for rows, share in ((ROWS, 0.3), (WINDOW, 0.35))]
    mixed = [np.hstack(pair) for pair in zip(numbers, categories, strict=True)]
    detectors = {
        "ks": (KSDrift(numbers[0]), numbers),
        "cvm": (CVMDrift(numbers[0]), numbers),
        "chi2": (ChiSquareDrift(categories[0]), categories),
        "fisher": (FETDrift(binary[0], alternative="greater"), binary),
        "tabular": (TabularDrift(mixed[0], categories_per_feature={4: None, 5: None}), mixed),
    }
    found = {}
    for name, (detector, (reference, window)) in detectors.items():
        data = detector.predict(window, drift_type="feature", return_p_val=True, return_distance=True)["data"]
        found |= {f"{name}_reference": reference, f"{name}_window": window}
        found |= {f"{name}_p_value": data["p_val"], f"{name}_distance": data["distance"]}
    np.savez_compressed(Path(__file__).with_name("univariate.npz"), **found)


if __name__ == "__main__":
    main()
