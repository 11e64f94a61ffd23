"""Scores of one of PyOD's detectors on every split of a folder, at its defaults. Run by .venvs/pyod's Python.

Usage: detectors_pyod.py FOLDER OUT KIND OPTIONS, as detectors_scores.py takes them.
Invariant: it is fitted on the rows, and asked for the rows, that ours is.
"""

import json
import sys
import warnings
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

MODELS = {
    "knn": ("knn", "KNN"),
    "lof": ("lof", "LOF"),
    "iforest": ("iforest", "IForest"),
    "ecod": ("ecod", "ECOD"),
    "copod": ("copod", "COPOD"),
    "pca": ("pca", "PCA"),
    "gmm": ("gmm", "GMM"),
    "mahalanobis": ("mcd", "MCD"),
    "autoencoder": ("auto_encoder", "AutoEncoder"),
    "vae": ("vae", "VAE"),
}
SEEDED = ("iforest", "pca", "gmm", "mahalanobis", "autoencoder", "vae")
SILENT = {"autoencoder": {"verbose": 0}, "vae": {"verbose": 0}}


def main() -> None:
    folder, out, kind, options = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], json.loads(sys.argv[4])
    warnings.simplefilter("ignore")  # what PyOD says of its own covariances is not ours to act on
    out.mkdir(parents=True, exist_ok=True)
    for path in sorted(folder.glob("*.npz")):
        with np.load(path, allow_pickle=False) as split:
            scores = score(kind, options, dict(split))
        np.save(out / f"{path.stem}.npy", scores)
        print(path.stem, flush=True)


def score(kind: str, options: dict[str, Any], split: dict[str, Any]) -> np.ndarray:
    module, name = MODELS[kind]
    seeded = {"random_state": int(split["seed"])} if kind in SEEDED else {}
    model = getattr(import_module(f"pyod.models.{module}"), name)(**seeded, **SILENT.get(kind, {}), **options)
    model.fit(split["fit"])
    return np.asarray(model.decision_function(split["test"]), np.float64)


if __name__ == "__main__":
    main()
