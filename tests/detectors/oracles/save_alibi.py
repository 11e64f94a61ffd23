"""Makes small saved detectors of every kind with alibi-detect, and says how alibi-detect itself scores rows with them.

Run by .venvs/alibi's Python with the folder to write into. Each NAME/ there is what `save_detector` wrote, and NAME.npz
holds `rows` (n, d) as Wayside sends them, `scores` (n,), and where the detector has them `by_feature` (n, d).
"""

import os
import sys
import warnings
from pathlib import Path
from unittest.mock import patch

os.environ |= {"TF_USE_LEGACY_KERAS": "1", "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}

import numpy as np
import tensorflow as tf
from alibi_detect.ad import AdversarialAE, ModelDistillation
from alibi_detect.cd import KSDrift
from alibi_detect.models.tensorflow.gmm import gmm_params
from alibi_detect.od import (
    LLR,
    IForest,
    Mahalanobis,
    OutlierAE,
    OutlierAEGMM,
    OutlierSeq2Seq,
    OutlierVAE,
    OutlierVAEGMM,
    SpectralResidual,
)
from alibi_detect.saving import load_detector, save_detector

FEATURES, LATENT, SAMPLES, ROWS = 4, 2, 3, 37
SEED_OF_NOISE = 0
Layers = tf.keras.layers


def network(width: int, *sizes: int, last: str | None = None) -> tf.keras.Sequential:
    inner = [Layers.Dense(size, activation="tanh") for size in sizes[:-1]]
    return tf.keras.Sequential([Layers.InputLayer(input_shape=(width,)), *inner, Layers.Dense(sizes[-1], last)])


def image_encoder() -> tf.keras.Sequential:
    layers = [Layers.InputLayer(input_shape=(4, 4, 1)), Layers.Conv2D(3, 2, activation="tanh"), Layers.Flatten()]
    return tf.keras.Sequential([*layers, Layers.Dense(LATENT)])


def image_decoder() -> tf.keras.Sequential:
    layers = [Layers.InputLayer(input_shape=(LATENT,)), Layers.Dense(16), Layers.Reshape((4, 4, 1))]
    return tf.keras.Sequential(layers)


def noise() -> np.ndarray:
    return np.random.default_rng(SEED_OF_NOISE).standard_normal((SAMPLES, LATENT))


def own_scores(detector, rows):
    """alibi-detect's own, of all rows at once; what a variational detector draws is the noise that Wayside fixes."""

    def drawn(shape, *_, **__):
        return tf.constant(np.tile(noise(), (int(shape[0]) // SAMPLES, 1)), tf.float32)

    with patch("tensorflow.keras.backend.random_normal", drawn):
        told = detector.predict(rows)["data"]
    return told["instance_score"], told.get("feature_score")


def one_by_one(folder: Path, rows: np.ndarray) -> np.ndarray:
    """Each row by a detector that has just been loaded: one that learns has learned from no other row."""
    return np.concatenate([own_scores(load_detector(folder), rows[at : at + 1])[0] for at in range(len(rows))])


def keep(root: Path, name: str, detector, rows: np.ndarray, scored=own_scores) -> None:
    save_detector(detector, root / name)
    flat = np.asarray(rows, np.float64).reshape(len(rows), -1)
    scores, by_feature = scored(load_detector(root / name), rows)
    assert np.isfinite(scores).all(), f"{name} scores what is not finite"
    more = {} if by_feature is None else {"by_feature": np.reshape(by_feature, (len(rows), -1))}
    np.savez(root / f"{name}.npz", rows=flat, scores=scores, **more)


def unset(detector, rows):
    """As `own_scores`, of a detector that was saved without a threshold, which `predict` cannot do without."""
    detector.threshold = 0.0
    return own_scores(detector, rows)


def save_trees(root: Path, forest) -> None:
    """The trees of scikit-learn's forest inside alibi-detect's IForest, as arrays."""
    arrays = {"offset": np.array(forest.offset_), "sample_size": np.array(forest._max_samples)}
    for number, (tree, features) in enumerate(zip(forest.estimators_, forest.estimators_features_, strict=True)):
        inner = tree.tree_
        arrays[f"{number}.feature"] = np.where(inner.feature >= 0, features[np.maximum(inner.feature, 0)], -1)
        for name in ("threshold", "children_left", "children_right", "n_node_samples"):
            arrays[f"{number}.{name}"] = getattr(inner, name)
    np.savez(root / "iforest-trees.npz", **arrays)


def save_plain(root: Path, normal: np.ndarray, rows: np.ndarray) -> None:
    forest = IForest(threshold=0.0, n_estimators=20)
    forest.isolationforest.random_state = 0
    forest.fit(normal)
    keep(root, "iforest", forest, rows)
    save_trees(root, forest.isolationforest)
    distance = Mahalanobis(n_components=FEATURES)
    distance.infer_threshold(normal)
    keep(root, "mahalanobis", distance, rows, lambda _, given: (one_by_one(root / "mahalanobis", given), None))
    residual = SpectralResidual(threshold=1.0, window_amp=8, window_local=8, n_est_points=4)
    save_detector(residual, root / "residual")
    series = np.random.default_rng(3).normal(size=(5, 24))
    points = np.stack([own_scores(load_detector(root / "residual"), each)[0] for each in series])
    np.savez(root / "residual.npz", rows=series, scores=points[:, -1], by_feature=points)


def save_networks(root: Path, normal: np.ndarray, rows: np.ndarray) -> None:
    fitted = {"epochs": 1, "verbose": False}
    coder = {"encoder_net": network(FEATURES, 5, LATENT), "decoder_net": network(LATENT, 5, FEATURES)}
    auto = OutlierAE(**coder)  # without a threshold
    auto.fit(normal, **fitted)
    keep(root, "ae", auto, rows, unset)
    variational = {"latent_dim": LATENT, "samples": SAMPLES}
    wide = {"encoder_net": network(FEATURES, 5, 5), "decoder_net": network(LATENT, 5, FEATURES)}
    vae = OutlierVAE(threshold=0.1, **wide, **variational)
    vae.fit(normal, **fitted)
    keep(root, "vae", vae, rows)
    density = network(LATENT + 2, 4, 2, last="softmax")
    for name, mixture in (
        ("aegmm", OutlierAEGMM(threshold=0.0, **coder, gmm_density_net=density, n_gmm=2)),
        ("vaegmm", OutlierVAEGMM(threshold=0.0, **wide, gmm_density_net=density, n_gmm=2, **variational)),
    ):
        # as its `fit` ends; training so small a network gives NaN
        _, latent, shares = getattr(mixture, name)(normal)
        mixture.phi, mixture.mu, mixture.cov, mixture.L, mixture.log_det_cov = gmm_params(latent, shares)
        keep(root, name, mixture, rows)


def save_of_other_shapes(root: Path) -> None:
    rng = np.random.default_rng(4)
    images = rng.random((ROWS, 4, 4, 1)).astype(np.float32)
    keep(root, "image-ae", OutlierAE(threshold=0.0, encoder_net=image_encoder(), decoder_net=image_decoder()), images)
    series = rng.normal(size=(ROWS, 6, 2)).astype(np.float32)
    sequence = OutlierSeq2Seq(n_features=2, seq_len=6, latent_dim=4, threshold=0.5)
    sequence.fit(series, epochs=1, verbose=False)
    keep(root, "seq2seq", sequence, series)
    tokens = rng.integers(0, 3, (ROWS, 7))

    def letters():
        inside = [Layers.Embedding(3, 4), Layers.LSTM(4, return_sequences=True), Layers.Dense(3)]
        return tf.keras.Sequential([Layers.InputLayer(input_shape=(6,), dtype=tf.int32), *inside])

    def log_prob(y, predicted):
        import tensorflow as tf  # it is pickled, and runs where this module is not

        return -tf.nn.sparse_softmax_cross_entropy_with_logits(labels=tf.cast(y, tf.int32), logits=predicted)

    ratio = LLR(threshold=0.0, model=letters(), model_background=letters(), log_prob=log_prob, sequential=True)
    keep(root, "llr", ratio, tokens)


def save_adversarial(root: Path, rows: np.ndarray) -> None:
    classifier = network(FEATURES, 5, 3, last="softmax")
    coder = {"encoder_net": network(FEATURES, 5, LATENT), "decoder_net": network(LATENT, 5, FEATURES)}
    keep(root, "adversarial-ae", AdversarialAE(threshold=0.0, model=classifier, **coder), rows)
    distilled = network(FEATURES, 3, last="softmax")
    keep(root, "distillation", ModelDistillation(threshold=0.0, model=classifier, distilled_model=distilled), rows)


def save_odd(root: Path, normal: np.ndarray, rows: np.ndarray) -> None:
    """A network that draws where nothing is told of it, one that gives NaN, and detectors that are of no use here."""
    drawing = tf.keras.Sequential([Layers.InputLayer(input_shape=(FEATURES,)), Layers.Dense(LATENT)])
    drawing.add(Layers.Lambda(lambda z: z + tf.keras.backend.random_normal(tf.shape(z))))
    save_detector(
        OutlierAE(threshold=0.0, encoder_net=drawing, decoder_net=network(LATENT, FEATURES)), root / "drawing"
    )
    broken = network(LATENT, FEATURES)
    broken.set_weights([np.full_like(weight, np.nan) for weight in broken.get_weights()])
    save_detector(OutlierAE(threshold=0.0, encoder_net=network(FEATURES, LATENT), decoder_net=broken), root / "broken")
    save_detector(Mahalanobis(threshold=1.0), root / "unlearned")
    save_detector(KSDrift(normal), root / "drift")
    for name in ("drawing", "broken"):
        np.savez(root / f"{name}.npz", rows=rows)


def main(root: Path) -> None:
    warnings.simplefilter("ignore")
    tf.keras.utils.set_random_seed(0)
    rng = np.random.default_rng(1)
    normal = rng.normal(size=(256, FEATURES)).astype(np.float32)
    rows = (3 * rng.normal(size=(ROWS, FEATURES))).astype(np.float32)
    save_plain(root, normal, rows)
    save_networks(root, normal, rows)
    save_of_other_shapes(root)
    save_adversarial(root, rows)
    save_odd(root, normal, rows)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
