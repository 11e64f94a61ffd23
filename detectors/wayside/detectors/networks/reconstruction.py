"""Networks that rebuild a row from a few numbers, and score it by how badly they do.

Source: Kingma and Welling, "Auto-encoding variational Bayes", ICLR 2014; An and Cho, "Variational autoencoder based
anomaly detection using reconstruction probability", SNU Data Mining Center 2015, for many samples a row.
Invariant: a feature's error is squared, the mean over the samples where there are several; `Measure` makes scores of
errors. The noise of the samples is part of the network: the same for every row, and for ever.
"""

from dataclasses import dataclass, field, replace
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from wayside.detectors.kinds.protocol import Arrays, Matrix
from wayside.detectors.networks.dense import Dense, Weights
from wayside.detectors.networks.measure import Measure, mean_errors

LARGEST_HALF_LOG_VARIANCE = 30.0
"""e³⁰ deviations away a sample is far enough: beyond it float32 would overflow, and a far outlier have no score."""
_BLOCK_ROWS = 1024


@dataclass(frozen=True, slots=True, eq=False)
class _Rebuilding:
    """An encoder and a decoder, and the weights of both in one list."""

    encoder: Dense
    decoder: Dense

    @property
    def features(self) -> int:
        return self.encoder.inputs

    @property
    def weights(self) -> list[Weights]:
        return [*self.encoder.weights, *self.decoder.weights]

    def with_weights(self, weights: list[NDArray[Any]]) -> Self:
        """The same network with other weights, in the order of `weights`; all else is kept."""
        encoder, decoder = split_weights(weights, self.encoder, self.decoder)
        return replace(self, encoder=encoder, decoder=decoder)


@dataclass(frozen=True, slots=True, eq=False)
class Autoencoder(_Rebuilding):
    """`encoder` (features → latent) and `decoder` (latent → features)."""

    measure: Measure = field(default_factory=Measure)

    def __post_init__(self) -> None:
        if self.encoder.outputs != self.decoder.inputs or self.encoder.inputs != self.decoder.outputs:
            raise ValueError("the encoder and the decoder do not fit to each other")
        if not self.measure.fits(self.features):
            raise ValueError("the measure does not fit to the network")

    def errors(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Squared, shape (n, features) for rows of that shape."""
        rebuilt = self.decoder.forward(self.encoder.forward(self.measure.seen(rows)))
        errors: NDArray[Any] = np.square(rows - rebuilt)
        return errors

    def feature_scores(self, rows: NDArray[Any]) -> NDArray[Any]:
        """What the graphs compute, said in numpy: shape (n, features) for rows of that shape."""
        return self.errors(rows) * self.measure.precisions

    def arrays(self) -> Arrays:
        return {**self.encoder.arrays("encoder"), **self.decoder.arrays("decoder"), **self.measure.arrays()}

    @classmethod
    def of_arrays(cls, arrays: Arrays) -> Self:
        """The inverse of `arrays`. Raises `KeyError` or `ValueError`."""
        networks = Dense.of_arrays(arrays, "encoder"), Dense.of_arrays(arrays, "decoder")
        return cls(*networks, Measure.of_arrays(arrays))


@dataclass(frozen=True, slots=True, eq=False)
class VariationalAutoencoder(_Rebuilding):
    """`encoder` gives mean and logarithm of the variance of each latent number (features → 2 · latent), `decoder`
    (latent → features) rebuilds a sample; `noise` (samples, latent) is standard normal."""

    noise: Weights
    measure: Measure = field(default_factory=Measure)

    def __post_init__(self) -> None:
        if self.encoder.outputs != 2 * self.decoder.inputs or self.encoder.inputs != self.decoder.outputs:
            raise ValueError("the encoder and the decoder do not fit to each other")
        if self.noise.ndim != 2 or not len(self.noise) or self.noise.shape[1] != self.decoder.inputs:
            raise ValueError(f"'noise' has shape {self.noise.shape}")
        if not self.measure.fits(self.features):
            raise ValueError("the measure does not fit to the network")

    @property
    def latent(self) -> int:
        return self.decoder.inputs

    @property
    def samples(self) -> int:
        return len(self.noise)

    def errors(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Squared, the mean over the samples, shape (n, features) for rows of that shape."""
        encoded = self.encoder.forward(self.measure.seen(rows))
        mean, log_variance = encoded[:, : self.latent], encoded[:, self.latent :]
        deviation = np.exp(np.minimum(0.5 * log_variance, LARGEST_HALF_LOG_VARIANCE))
        rebuilt = self.decoder.forward(mean + deviation * self.noise[:, None, :])
        errors: NDArray[Any] = np.square(rows - rebuilt).mean(axis=0)
        return errors

    def feature_scores(self, rows: NDArray[Any]) -> NDArray[Any]:
        """What the graphs compute, said in numpy: shape (n, features) for rows of that shape."""
        return self.errors(rows) * self.measure.precisions

    def arrays(self) -> Arrays:
        networks = {**self.encoder.arrays("encoder"), **self.decoder.arrays("decoder")}
        return {**networks, **self.measure.arrays(), "noise": self.noise}

    @classmethod
    def of_arrays(cls, arrays: Arrays) -> Self:
        """The inverse of `arrays`. Raises `KeyError` or `ValueError`."""
        networks = Dense.of_arrays(arrays, "encoder"), Dense.of_arrays(arrays, "decoder")
        return cls(*networks, np.asarray(arrays["noise"], np.float32), Measure.of_arrays(arrays))


Reconstruction = Autoencoder | VariationalAutoencoder
Network = TypeVar("Network", Autoencoder, VariationalAutoencoder)


def measured(network: Network, rows: Matrix) -> Network:
    """The same network, whose errors are measured by what is usual on `rows`, shape (n, features), n ≥ 1."""
    errors = mean_errors(network.errors, rows, _BLOCK_ROWS)
    return replace(network, measure=network.measure.fitted(errors))


def split_weights(weights: list[NDArray[Any]], encoder: Dense, decoder: Dense) -> tuple[Dense, Dense]:
    """Weights of both networks in turn, given to each."""
    at = 2 * len(encoder.layers)
    return encoder.with_weights(weights[:at]), decoder.with_weights(weights[at:])
