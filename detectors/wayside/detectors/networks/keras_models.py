"""Keras 3 models of the networks: imported when they are needed, built from the values, their weights read back.

Source: Keras 3's functional API, the same on TensorFlow, JAX and PyTorch.
Invariant: a model starts with the weights of its value; nothing random happens inside Keras, whatever its backend.
"""

import os
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from types import MappingProxyType
from typing import Any

import numpy as np

from wayside.detectors.networks.dense import Dense
from wayside.detectors.networks.reconstruction import (
    LARGEST_HALF_LOG_VARIANCE,
    Autoencoder,
    Reconstruction,
    VariationalAutoencoder,
)
from wayside.eventing.errors import MissingExtra

BACKENDS = ("tensorflow", "jax", "torch")
_QUIET: Mapping[str, str] = MappingProxyType({"TF_CPP_MIN_LOG_LEVEL": "3"})  # TensorFlow tells of CPU flags and CUDA


def load_keras() -> Any:
    """The `keras` module, on the backend that KERAS_BACKEND names, else on the first of `BACKENDS` that is installed.

    Raises `MissingExtra` where Keras, or any backend, is missing. Keras reads its backend from the environment, once,
    when it is first imported: so that is where this puts it.
    """
    installed = [name for name in BACKENDS if find_spec(name) is not None]
    if find_spec("keras") is None or not installed:
        raise MissingExtra("Keras with TensorFlow (or 'jax', or 'torch' in its place)", BACKENDS[0])
    if "keras" not in sys.modules:
        for name, value in {"KERAS_BACKEND": installed[0], **_QUIET}.items():
            os.environ.setdefault(name, value)
    import keras

    return keras


def training_model(keras: Any, network: Reconstruction) -> Any:
    """What is trained. An autoencoder's model gives the rows rebuilt; a variational one has a second input, the noise
    of each row's sample (n, latent), and gives the rows rebuilt and what the encoder said, side by side."""
    rows = keras.Input((network.features,), name="rows")
    seen = _seen(keras, network, rows)
    if isinstance(network, Autoencoder):
        rebuilt = _dense(keras, network.decoder, _dense(keras, network.encoder, seen))
        return _with_weights(keras.Model(rows, rebuilt), network)
    noise = keras.Input((network.latent,), name="noise")
    encoded = _dense(keras, network.encoder, seen)
    rebuilt = _dense(keras, network.decoder, _draw(keras, encoded, noise, network.latent))
    both = keras.ops.concatenate([rebuilt, encoded], axis=-1)
    return _with_weights(keras.Model([rows, noise], both), network)


def scoring_model(keras: Any, network: Reconstruction) -> Any:
    """Rows (n, features) to feature scores of that shape."""
    rows = keras.Input((network.features,), name="rows")
    encoded = _dense(keras, network.encoder, _seen(keras, network, rows))
    if isinstance(network, VariationalAutoencoder):
        repeated = keras.ops.expand_dims(encoded, 1)
        drawn = _draw(keras, repeated, network.noise[None], network.latent)
        by_sample = keras.ops.square(_dense(keras, network.decoder, drawn) - keras.ops.expand_dims(rows, 1))
        errors = keras.ops.mean(by_sample, axis=1)
    else:
        errors = keras.ops.square(_dense(keras, network.decoder, encoded) - rows)
    return _with_weights(keras.Model(rows, errors * network.measure.precisions), network)


def weights_of(model: Any) -> list[Any]:
    """The weights of a model, in the order of its network's."""
    return [np.asarray(each, np.float32) for each in model.get_weights()]


def _with_weights(model: Any, network: Reconstruction) -> Any:
    model.set_weights(network.weights)
    return model


def _dense(keras: Any, network: Dense, values: Any) -> Any:
    for layer in network.layers:
        units = layer.kernel.shape[1]
        values = keras.layers.Dense(units, activation=str(layer.activation), kernel_initializer="zeros")(values)
    return values


def _seen(keras: Any, network: Reconstruction, rows: Any) -> Any:
    limit = network.measure.limit
    return rows if np.isinf(limit) else keras.ops.clip(rows, -limit, limit)


def _draw(keras: Any, encoded: Any, noise: Any, latent: int) -> Any:
    mean, log_variance = encoded[..., :latent], encoded[..., latent:]
    half = keras.ops.minimum(0.5 * log_variance, LARGEST_HALF_LOG_VARIANCE)
    return mean + keras.ops.exp(half) * noise
