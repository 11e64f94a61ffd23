"""Saves one of each of alibi-detect's drift detectors, and what it says itself of a window, into the folder named.

Run by an interpreter that has alibi-detect. NAME/ is what `save_detector` wrote; NAME.npz has the window's `rows`, the
`context` where there is one, and `statistics` and `p_values` as `predict` tells them (an online detector: whether it
alarmed, in place of a p-value). They are fitted as little as can be: what counts is that both sides say the same.
"""

import os
import random
import sys
import warnings
from functools import partial
from pathlib import Path

os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"

import numpy as np
import tensorflow as tf
from alibi_detect.cd import (
    ChiSquareDrift,
    ClassifierDrift,
    ClassifierUncertaintyDrift,
    ContextMMDDrift,
    CVMDrift,
    CVMDriftOnline,
    FETDrift,
    FETDriftOnline,
    KSDrift,
    LearnedKernelDrift,
    LSDDDrift,
    LSDDDriftOnline,
    MMDDrift,
    MMDDriftOnline,
    RegressorUncertaintyDrift,
    SpotTheDiffDrift,
    TabularDrift,
    _domain_clf,
)
from alibi_detect.cd.tensorflow import preprocess_drift
from alibi_detect.saving import load_detector, save_detector
from alibi_detect.utils.tensorflow import DeepKernel
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator

Layers = tf.keras.layers
FEATURES, REFERENCE, WINDOW = 3, 60, 30
ONLINE = {"ert": 40.0, "verbose": False}


# `cv="prefit"` of a fitted classifier, which scikit-learn 1.8 took away, in the words that it gives for it
_domain_clf.CalibratedClassifierCV = lambda fitted, method, cv: CalibratedClassifierCV(
    FrozenEstimator(fitted), method=method
)


def seed() -> None:
    """As the worker does before each test."""
    random.seed(0)
    np.random.seed(0)
    tf.random.set_seed(0)


def network(*sizes, last=None):
    inner = [Layers.Dense(units, activation="relu") for units in sizes[1:-1]]
    return tf.keras.Sequential([Layers.InputLayer(input_shape=(sizes[0],)), *inner, Layers.Dense(sizes[-1], last)])


def keep(root: Path, name: str, detector, rows, context=None) -> None:
    save_detector(detector, root / name)
    seed()
    loaded = load_detector(root / name)
    seed()
    if loaded.meta["online"]:
        told = [loaded.predict(row)["data"] for row in rows]
        statistics = np.nanmax([np.max(each["test_stat"]) for each in told])
        p_values = float(any(each["is_drift"] for each in told))
    else:
        told = loaded.predict(rows, **({} if context is None else {"c": context}))["data"]
        statistics, p_values = told["distance"], told["p_val"]
    more = {} if context is None else {"context": np.asarray(context, np.float64)}
    said = {"statistics": np.atleast_1d(statistics), "p_values": np.atleast_1d(p_values)}
    np.savez(root / f"{name}.npz", rows=np.asarray(rows, np.float64), **said, **more)


def save_univariate(root: Path, reference, window) -> None:
    codes, code_window = (np.digitize(each[:, :2], [-0.5, 0.5]).astype(np.float64) for each in (reference, window))
    bits, bit_window = ((each > 0).astype(np.int64) for each in (reference, window))
    keep(root, "ks", KSDrift(reference), window)
    keep(root, "ks-updated", KSDrift(reference, update_x_ref={"last": REFERENCE}), window)
    keep(root, "cvm", CVMDrift(reference), window)
    keep(root, "fet", FETDrift(bits, alternative="two-sided"), bit_window)
    keep(root, "chi-square", ChiSquareDrift(codes), code_window)
    mixed = np.hstack([reference[:, :1], codes[:, :1]])
    keep(root, "tabular", TabularDrift(mixed, categories_per_feature={1: None}),
         np.hstack([window[:, :1], code_window[:, :1]]))  # fmt: skip


def save_multivariate(root: Path, reference, window) -> None:
    keep(root, "mmd", MMDDrift(reference, n_permutations=50), window)
    encoder = partial(preprocess_drift, model=network(FEATURES, 2), batch_size=32)
    keep(root, "mmd-encoded", MMDDrift(reference, n_permutations=20, preprocess_fn=encoder), window)
    keep(root, "lsdd", LSDDDrift(reference, n_permutations=50), window)
    hours = np.random.default_rng(9).uniform(0, 24, (REFERENCE + WINDOW, 1)).astype(np.float32)
    context = ContextMMDDrift(reference, hours[:REFERENCE], n_permutations=20, verbose=False)
    keep(root, "context-mmd", context, window, hours[REFERENCE:])
    learned = DeepKernel(network(FEATURES, 2), eps=0.01)
    keep(root, "learned-kernel", LearnedKernelDrift(reference, learned, n_permutations=20, epochs=1, verbose=0), window)


def save_learning(root: Path, reference, window) -> None:
    classifier = network(FEATURES, 4, 2, last="softmax")
    keep(root, "classifier", ClassifierDrift(reference, classifier, epochs=1, n_folds=2, seed=0, verbose=0), window)
    spot = SpotTheDiffDrift(reference, n_diffs=1, epochs=1, n_folds=2, seed=0, verbose=0)
    keep(root, "spot-the-diff", spot, window)
    unsure = ClassifierUncertaintyDrift(reference, classifier, backend="tensorflow", preds_type="probs")
    keep(root, "classifier-uncertainty", unsure, window)
    members = {"backend": "tensorflow", "uncertainty_type": "ensemble"}  # three outputs, one a member
    spread = RegressorUncertaintyDrift(reference, network(FEATURES, 3), **members)
    keep(root, "regressor-uncertainty", spread, window)


def save_online(root: Path, reference, window) -> None:
    bits, bit_window = ((each > 0).astype(np.int64) for each in (reference, window))
    few, shifted = window[:8], window[:8] + 3
    keep(root, "mmd-online", MMDDriftOnline(reference, window_size=3, n_bootstraps=100, **ONLINE), shifted)
    keep(root, "lsdd-online", LSDDDriftOnline(reference, window_size=3, n_bootstraps=100, **ONLINE), few)
    keep(root, "cvm-online", CVMDriftOnline(reference, window_sizes=[3], n_bootstraps=1000, **ONLINE), shifted)
    keep(root, "fet-online", FETDriftOnline(bits, window_sizes=[3], n_bootstraps=1000, **ONLINE), bit_window[:8])


def main(root: Path) -> None:
    warnings.simplefilter("ignore")
    seed()
    rng = np.random.default_rng(1)
    reference = rng.normal(size=(REFERENCE, FEATURES)).astype(np.float32)
    window = (rng.normal(size=(WINDOW, FEATURES)) + 0.3).astype(np.float32)
    for save in (save_univariate, save_multivariate, save_learning, save_online):
        save(root, reference, window)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
