"""Fits what adserver serves, and takes the same weights and the same forest out of it. Run by .venvs/adserver's Python.

Usage: detectors_adserver_fit.py ROWS.npy OUT: rows of shape (n, d), standardised. It writes OUT/vae and OUT/iforest as
`save_detector` does, OUT/vae.npz (kernels and biases by layer), OUT/iforest.npz (the trees' arrays) and
OUT/expected.npz (alibi-detect's scores of the first 256 rows, the forest's).
Source: the notebook od_vae_kddcup (layers, latent dimension, samples), which trains longer: speed asks no more of the
weights than that they be trained.
"""

import os
import sys
from pathlib import Path

os.environ |= {"TF_USE_LEGACY_KERAS": "1", "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}

import numpy as np
import tensorflow as tf
from alibi_detect.od import IForest, OutlierVAE
from alibi_detect.saving import save_detector
from tensorflow.keras.layers import Dense, InputLayer

LAYERS, LATENT, SAMPLES = (20, 15, 7), 2, 5
EPOCHS, BATCH_ROWS = 4, 256
TREES = 100
THRESHOLD_PERCENT = 95


def main() -> None:
    rows, out = np.load(sys.argv[1]), Path(sys.argv[2])
    tf.random.set_seed(0)
    np.random.seed(0)  # alibi-detect and its forest draw from the global generator
    vae = fit_vae(rows)
    save_detector(vae, out / "vae")
    np.savez(out / "vae.npz", **layers(vae))
    forest = IForest(n_estimators=TREES)
    forest.fit(rows)
    forest.infer_threshold(rows[:2000], threshold_perc=THRESHOLD_PERCENT)
    save_detector(forest, out / "iforest")
    np.savez(out / "iforest.npz", **trees(forest.isolationforest))
    np.savez(out / "expected.npz", iforest=forest.score(rows[:256]))


def fit_vae(rows: np.ndarray) -> OutlierVAE:
    """The notebook's detector, trained and with a threshold."""
    dense = [Dense(width, activation=tf.nn.relu) for width in LAYERS]
    mirrored = [Dense(width, activation=tf.nn.relu) for width in reversed(LAYERS)]
    encoder = tf.keras.Sequential([InputLayer(input_shape=(rows.shape[1],)), *dense])
    decoder = tf.keras.Sequential([InputLayer(input_shape=(LATENT,)), *mirrored, Dense(rows.shape[1])])
    vae = OutlierVAE(encoder_net=encoder, decoder_net=decoder, latent_dim=LATENT, samples=SAMPLES)
    vae.fit(rows, cov_elbo={"sim": 0.01}, epochs=EPOCHS, batch_size=BATCH_ROWS, verbose=False)
    vae.infer_threshold(rows[:2000], threshold_perc=THRESHOLD_PERCENT)
    return vae


def layers(vae: OutlierVAE) -> dict[str, np.ndarray]:
    """Kernel and bias of each layer: `encoder.0.kernel` …, `mean.kernel`, `log_variance.kernel`, `decoder.0.kernel`…"""
    encoder, decoder = vae.vae.encoder, vae.vae.decoder
    named = {f"encoder.{at}": layer for at, layer in enumerate(encoder.encoder_net.layers)}
    named |= {"mean": encoder.fc_mean, "log_variance": encoder.fc_log_var}
    named |= {f"decoder.{at}": layer for at, layer in enumerate(decoder.decoder_net.layers)}
    weights = {name: layer.get_weights() for name, layer in named.items()}
    return {
        f"{name}.{part}": array
        for name, arrays in weights.items()
        for part, array in zip(("kernel", "bias"), arrays, strict=True)
    }


def trees(forest) -> dict[str, np.ndarray]:
    """scikit-learn's trees end to end: where each begins, and its nodes' children, features, thresholds and rows."""
    each = [estimator.tree_ for estimator in forest.estimators_]
    fields = ("children_left", "children_right", "feature", "threshold", "n_node_samples")
    arrays = {field: np.concatenate([getattr(tree, field) for tree in each]) for field in fields}
    columns = np.concatenate([[*chosen] for chosen in forest.estimators_features_]).reshape(len(each), -1)
    sizes = np.array([tree.node_count for tree in each])
    facts = {"max_samples": forest.max_samples_, "offset": forest.offset_}
    return {**arrays, "nodes": sizes, "columns": columns, **{name: np.array(value) for name, value in facts.items()}}


if __name__ == "__main__":
    main()
