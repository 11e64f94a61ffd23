"""Run by .venvs/alibi: the scores of alibi-detect's OutlierVAE or OutlierAE with given weights, and given noise.

Usage: alibi_reconstruction.py FOLDER KIND… For each KIND it reads KIND.npz there and writes KIND-told.npz. What it
reads holds `rows`, the weights as Wayside keeps them in an artifact (`encoder.NN`, `decoder.NN`: kernel and bias in
turn), and for a VAE `noise` (samples, latent); activations are relu.
alibi-detect draws its noise inside a layer of its encoder. The class of that layer (Sampling) is a Keras layer like any
other, so the detector is given a model whose sampling layer adds the given noise instead: its `score` repeats each
row `samples` times in place, which is the order in which the noise is laid out here. Nothing of the library is changed.
"""

import os
import sys
from pathlib import Path

os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy as np
import tensorflow as tf
from alibi_detect.models.tensorflow.autoencoder import AE, VAE
from alibi_detect.od import OutlierAE, OutlierVAE


class GivenNoise(tf.keras.layers.Layer):
    """Samples a latent number as `mean + exp(log variance / 2) · noise`, the noise by the place in the batch."""

    def __init__(self, noise):
        super().__init__()
        self.noise = noise

    def call(self, inputs):
        mean, log_variance = inputs
        times = tf.shape(mean)[0] // len(self.noise)
        return mean + tf.exp(0.5 * log_variance) * tf.tile(self.noise, [times, 1])


def dense(weights, width, is_linear_at_end):
    """A Sequential of the layers of these weights."""
    pairs = list(zip(weights[::2], weights[1::2], strict=True))
    network = tf.keras.Sequential([tf.keras.layers.InputLayer(input_shape=(width,))])
    for at, (kernel, _) in enumerate(pairs):
        is_last = at == len(pairs) - 1
        network.add(tf.keras.layers.Dense(kernel.shape[1], activation=None if is_last and is_linear_at_end else "relu"))
    network.set_weights([each for pair in pairs for each in pair])
    return network


def variational(given, encoder, decoder):
    features, latent = given["rows"].shape[1], given["noise"].shape[1]
    kernel, bias = encoder[-2:]
    trunk = dense(encoder[:-2], features, is_linear_at_end=False)
    model = VAE(trunk, dense(decoder, latent, is_linear_at_end=True), latent)
    model.encoder.sampling = GivenNoise(given["noise"])
    model(given["rows"][:1].repeat(len(given["noise"]), axis=0))
    model.encoder.fc_mean.set_weights([kernel[:, :latent], bias[:latent]])
    model.encoder.fc_log_var.set_weights([kernel[:, latent:], bias[latent:]])
    return OutlierVAE(threshold=1.0, vae=model, samples=len(given["noise"]))


def plain(given, encoder, decoder):
    features, latent = given["rows"].shape[1], decoder[0].shape[0]
    model = AE(dense(encoder, features, is_linear_at_end=True), dense(decoder, latent, is_linear_at_end=True))
    return OutlierAE(threshold=1.0, ae=model)


def tell(folder, kind):
    with np.load(folder / f"{kind}.npz") as file:
        given = dict(file)
    encoder, decoder = [
        [given[name] for name in sorted(given) if name.startswith(f"{part}.")] for part in ("encoder", "decoder")
    ]
    detector = (variational if "noise" in given else plain)(given, encoder, decoder)
    features, rows = detector.score(given["rows"])
    np.savez(folder / f"{kind}-told.npz", features=features, rows=rows)


for each in sys.argv[2:]:
    tell(Path(sys.argv[1]), each)
