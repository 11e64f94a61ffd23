"""`vae`: how badly a variational autoencoder rebuilds a row, on average over a few samples of what it may mean.

Source: Kingma and Welling, "Auto-encoding variational Bayes", ICLR 2014; An and Cho, "Variational autoencoder based
anomaly detection using reconstruction probability", SNU Data Mining Center 2015.
Invariant: the samples' noise is drawn once, from the seed, and kept: a row has one score, however often it is scored.
"""

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from wayside.detectors.kinds.protocol import FitContext, Matrix
from wayside.detectors.networks.dense import Dense
from wayside.detectors.networks.detector import (
    MOST_UNITS,
    ReconstructionDetector,
    activation_of,
    check_positive,
    check_range,
    widths_of,
)
from wayside.detectors.networks.measure import Measure
from wayside.detectors.networks.reconstruction import VariationalAutoencoder, measured
from wayside.detectors.networks.training import Training, train

_MOST_SAMPLES = 1024


@dataclass(frozen=True, slots=True)
class VaeOptions:
    """`hidden` are the widths of the encoder's layers, mirrored in the decoder, `latent` the numbers between them,
    `samples` how often a row is rebuilt to be scored. `deviation`, `beta` and the rest are `Training`'s.

    The network sees no value beyond `limit` deviations, and tanh is bounded: so what lies far outside is not rebuilt.
    `normalise` measures errors by what is usual (see `Measure`), else a score is the mean squared error.
    """

    hidden: str = "32-16"
    latent: int = 10
    samples: int = 5
    activation: str = "tanh"
    deviation: float = 0.03
    beta: float = 1.0
    epochs: int = 30
    batch_size: int = 128
    learning_rate: float = 2e-3
    patience: int = 10
    limit: float = 12.0
    normalise: bool = True

    def __post_init__(self) -> None:
        check_range("latent", self.latent, MOST_UNITS)
        check_range("samples", self.samples, _MOST_SAMPLES)
        widths_of(self.hidden)
        activation_of(self.activation)
        check_positive("limit", self.limit)
        self.training()

    def training(self) -> Training:
        return Training(
            self.epochs, self.batch_size, self.learning_rate, self.patience, deviation=self.deviation, beta=self.beta
        )

    def initial(self, features: int, random: np.random.Generator) -> VariationalAutoencoder:
        """The network before training, with the noise that it keeps."""
        hidden, activation = widths_of(self.hidden), activation_of(self.activation)
        encoder = Dense.initial([features, *hidden, 2 * self.latent], activation, random)
        decoder = Dense.initial([self.latent, *reversed(hidden), features], activation, random)
        noise = random.standard_normal((self.samples, self.latent), dtype=np.float32)
        return VariationalAutoencoder(encoder, decoder, noise, Measure(self.limit))


class VaeDetector(ReconstructionDetector):
    kind: ClassVar[str] = "vae"
    summary: ClassVar[str] = "reconstruction error of a variational autoencoder"
    options: ClassVar[type[VaeOptions]] = VaeOptions
    network: ClassVar[type[VariationalAutoencoder]] = VariationalAutoencoder

    @classmethod
    def fit(cls, rows: Matrix, options: VaeOptions, context: FitContext) -> Self:
        initial = options.initial(rows.shape[1], np.random.default_rng(context.seed))
        network = train(initial, rows, options.training(), context)
        return cls.of_network(measured(network, rows) if options.normalise else network, rows)
