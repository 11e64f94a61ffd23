"""Says what alibi-detect's MMD, LSDD and context-aware MMD drift detectors make of two samples.

Run by .venvs/alibi's Python with the file to write. Of a name: the statistic, and the p-value by 2 000 permutations;
besides, what was drawn at random there and is needed to compute the same: LSDD's centres and regularised form, the
contexts that the context-aware test set aside.
"""

import os
import sys

os.environ |= {"TF_USE_LEGACY_KERAS": "1", "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}

import numpy as np
import tensorflow as tf
from alibi_detect.cd import LSDDDrift, MMDDrift
from alibi_detect.cd.tensorflow.context_aware import ContextMMDDriftTF
from alibi_detect.utils.tensorflow.distance import permed_lsdds
from alibi_detect.utils.tensorflow.kernels import GaussianRBF

PERMUTATIONS = 2000
SHRINKAGE = 1e-2


def make_samples() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """A reference and a window that is a little shifted, and the stratum of each row: rows follow it."""
    random = np.random.default_rng(4)
    strata, window_strata = random.integers(0, 3, 120), random.choice(3, 60, p=[0.6, 0.3, 0.1])
    reference = random.normal(size=(120, 5)) + 0.5 * strata[:, None]
    window = random.normal(size=(60, 5)) + 0.5 * window_strata[:, None] + [0.35, 0, 0, 0, 0]
    return reference.astype(np.float32), window.astype(np.float32), strata, window_strata


def mmd(reference: np.ndarray, window: np.ndarray) -> dict[str, np.ndarray]:
    detector = MMDDrift(reference, backend="tensorflow", n_permutations=PERMUTATIONS)
    data = detector.predict(window)["data"]
    width = detector._detector.kernel.sigma.numpy()
    return {"mmd": np.array([data["distance"], data["p_val"]]), "mmd.width": width}


def lsdd(reference: np.ndarray, window: np.ndarray) -> dict[str, np.ndarray]:
    tf.random.set_seed(1)
    whole = LSDDDrift(reference, backend="tensorflow", n_permutations=PERMUTATIONS, n_kernel_centers=12)
    data, inner = whole.predict(window)["data"], whole._detector
    kernel = tf.concat([inner.k_xc, inner.kernel(inner._normalize(window), inner.kernel_centers)], axis=0)
    count = len(reference) - 12
    orders = [tf.random.shuffle(tf.range(count + len(window))) for _ in range(200)]
    _, form = permed_lsdds(kernel, [each[:count] for each in orders], [each[count:] for each in orders], inner.H)
    return {
        "lsdd": np.array([data["distance"], data["p_val"]]),
        "lsdd.width": inner.kernel.sigma.numpy(),
        "lsdd.centres": inner.kernel_centers.numpy(),
        "lsdd.gram": inner.H.numpy(),
        "lsdd.form": form.numpy(),
        "lsdd.reference": inner._normalize(reference).numpy(),
        "lsdd.window": inner._normalize(window).numpy(),
        "lsdd.kept": inner.k_xc.numpy(),
    }


def context(reference: np.ndarray, window: np.ndarray, strata: np.ndarray, other: np.ndarray) -> dict[str, np.ndarray]:
    """With contexts so far apart that their kernel says no more than whether two are equal."""
    near = GaussianRBF(sigma=np.array([1e-2], np.float32))
    width = np.array([2.0], np.float32)
    detector = ContextMMDDriftTF(
        reference, strata[:, None].astype(np.float32), x_kernel=GaussianRBF(sigma=width), c_kernel=near
    )
    rows = tf.concat([reference, window], axis=0)
    contexts = tf.constant(np.concatenate([strata, other])[:, None].astype(np.float32))
    held = np.random.default_rng(5).choice(3, 40)
    detector.lams = (tf.constant(SHRINKAGE), tf.constant(SHRINKAGE))
    members = tf.concat([tf.zeros(len(reference)), tf.ones(len(window))], axis=0)
    kernel = detector.x_kernel(rows, rows)
    outer = near(tf.constant(held[:, None].astype(np.float32)), contexts)
    statistic = detector._cmmd(kernel, near(contexts, contexts), members, L_held=outer)[0]
    return {"context": np.array([float(statistic), SHRINKAGE]), "context.held": held, "context.width": width}


def main(path: str) -> None:
    reference, window, strata, other = make_samples()
    found = {"reference": reference, "window": window, "strata": strata, "window.strata": other}
    found |= mmd(reference, window) | lsdd(reference, window) | context(reference, window, strata, other)
    np.savez_compressed(path, **found)


if __name__ == "__main__":
    main(sys.argv[1])
