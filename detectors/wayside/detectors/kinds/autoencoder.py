"""`autoencoder`: how badly a network that squeezes a row into a few numbers rebuilds it.

Source: Hawkins, He, Williams and Baxter, "Outlier detection using replicator neural networks", DaWaK 2002.
Invariant: it scores as its graph does; Keras is needed to fit, never to score on a CPU.
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
from wayside.detectors.networks.reconstruction import Autoencoder, measured
from wayside.detectors.networks.training import Training, train


@dataclass(frozen=True, slots=True)
class AutoencoderOptions:
    """`hidden` are the widths of the encoder's layers, mirrored in the decoder; `latent` is that between them.

    `limit`, `normalise` and tanh are as in `VaeOptions`; the rest is `Training`'s.
    """

    hidden: str = "64-32"
    latent: int = 8
    activation: str = "tanh"
    epochs: int = 30
    batch_size: int = 64
    learning_rate: float = 1e-3
    patience: int = 10
    limit: float = 12.0
    normalise: bool = True

    def __post_init__(self) -> None:
        check_range("latent", self.latent, MOST_UNITS)
        widths_of(self.hidden)
        activation_of(self.activation)
        check_positive("limit", self.limit)
        self.training()

    def training(self) -> Training:
        return Training(self.epochs, self.batch_size, self.learning_rate, self.patience)

    def initial(self, features: int, random: np.random.Generator) -> Autoencoder:
        """The network before training."""
        hidden, activation = widths_of(self.hidden), activation_of(self.activation)
        encoder = Dense.initial([features, *hidden, self.latent], activation, random)
        decoder = Dense.initial([self.latent, *reversed(hidden), features], activation, random)
        return Autoencoder(encoder, decoder, Measure(self.limit))


class AutoencoderDetector(ReconstructionDetector):
    kind: ClassVar[str] = "autoencoder"
    summary: ClassVar[str] = "reconstruction error of an autoencoder"
    options: ClassVar[type[AutoencoderOptions]] = AutoencoderOptions
    network: ClassVar[type[Autoencoder]] = Autoencoder

    @classmethod
    def fit(cls, rows: Matrix, options: AutoencoderOptions, context: FitContext) -> Self:
        initial = options.initial(rows.shape[1], np.random.default_rng(context.seed))
        network = train(initial, rows, options.training(), context)
        return cls.of_network(measured(network, rows) if options.normalise else network, rows)
