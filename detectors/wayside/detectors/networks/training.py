"""Trains a reconstruction network with Keras, on rows that are already scaled.

Source: Kingma and Ba, "Adam: a method for stochastic optimization", ICLR 2015; Loshchilov and Hutter, "SGDR: stochastic
gradient descent with warm restarts", ICLR 2017, for the falling rate; Prechelt, "Early stopping, but when?", 1998;
Kingma and Welling, "Auto-encoding variational Bayes", ICLR 2014, for the bound that a variational one maximises.
Invariant: the split, the order of the rows and all noise come from the seed through numpy, so that equal rows, options
and seed give equal weights on one machine; no row that validates is trained on.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wayside.detectors.kinds.protocol import FitContext, Matrix
from wayside.detectors.networks.blocks import Floats
from wayside.detectors.networks.keras_models import load_keras, training_model, weights_of
from wayside.detectors.networks.reconstruction import Autoencoder, Network, Reconstruction, VariationalAutoencoder
from wayside.eventing.errors import ConfigurationError

LEAST_ROWS = 20
_VALIDATION_SHARE = 0.1
_TRAINING_STREAM = 1  # of the seed: the weights that training starts from have another
_VALIDATION_STEP_ROWS = 4096
_LEAST_STEPS = 30  # of an epoch, so that few rows are not left untrained: each is then taken several times
_STEPS_PER_CALL = 64  # of one compiled call: a step of so small a network takes less time than a call of Python

Loss = Callable[[Any, Any], Any]


@dataclass(frozen=True, slots=True)
class Training:
    """How to train: at most `epochs`, until `patience` of them in turn have not improved the validation loss. An epoch
    is a pass over the rows, or as many as make 30 steps. From `learning_rate` on the rate falls to 0 as a cosine does.

    `deviation` is that of the noise around a rebuilt row which a variational network assumes, in units of the scaled
    features, and `beta` the weight of its divergence from the prior; an autoencoder has no use for them.
    """

    epochs: int = 30
    batch_size: int = 64
    learning_rate: float = 1e-3
    patience: int = 10
    deviation: float = 1.0
    beta: float = 1.0

    def __post_init__(self) -> None:
        for name, count, most in (("epochs", self.epochs, 100_000), ("batch_size", self.batch_size, 1 << 20)):
            if not 1 <= count <= most:
                raise ConfigurationError(f"{name} is {count}: give 1 to {most}")
        if self.patience < 1:
            raise ConfigurationError(f"patience is {self.patience}: give 1 or more")
        for name, value in (("learning_rate", self.learning_rate), ("deviation", self.deviation)):
            if not 0 < value < np.inf:
                raise ConfigurationError(f"{name} is {value:g}: give a number above 0")
        if not 0 <= self.beta < np.inf:
            raise ConfigurationError(f"beta is {self.beta:g}: give 0 or more")


def train(network: Network, rows: Matrix, training: Training, context: FitContext) -> Network:
    """The network with the weights of its best epoch; each epoch is told to `context.progress`.

    Raises `ConfigurationError` where rows are too few or training diverges, `MissingExtra` without Keras.
    """
    if len(rows) < LEAST_ROWS:
        raise ConfigurationError(f"a network needs at least {LEAST_ROWS} rows to fit on, there are {len(rows)}")
    random = np.random.default_rng([context.seed, _TRAINING_STREAM])
    order, held_out = random.permutation(len(rows)), max(1, round(len(rows) * _VALIDATION_SHARE))
    examples = _Examples(rows.astype(np.float32), _noise_width(network), random)
    model = _compiled(network, training, len(rows) - held_out)
    best = _Best(training.patience)
    validation = examples.of(order[:held_out])
    for epoch in range(1, training.epochs + 1):
        _train_once(model, examples, order[held_out:], training.batch_size)
        loss = _loss(model, validation)
        best.see(loss, model)
        context.measured("validation loss", epoch, loss)
        context.progress("training", epoch, training.epochs)
        if best.is_stale:
            break
    return network.with_weights(best.weights())


@dataclass(frozen=True, slots=True)
class _Examples:
    """Rows as a model takes them: with noise where it draws samples, and with the rows as what it should give."""

    rows: Floats
    noise_width: int
    random: np.random.Generator

    def of(self, chosen: NDArray[np.intp]) -> tuple[Any, Floats]:
        """Inputs, which are one array or two, and targets."""
        rows = self.rows[chosen]
        if not self.noise_width:
            return rows, rows
        return [rows, self.random.standard_normal((len(rows), self.noise_width), np.float32)], rows


class _Best:
    """The weights of the epoch with the smallest validation loss so far."""

    def __init__(self, patience: int) -> None:
        self._patience = patience
        self._loss, self._weights, self._waited = np.inf, list[Any](), 0

    def see(self, loss: float, model: Any) -> None:
        """One more epoch's; NaN is no improvement."""
        if loss < self._loss:
            self._loss, self._weights, self._waited = loss, weights_of(model), 0
        else:
            self._waited += 1

    @property
    def is_stale(self) -> bool:
        return self._waited >= self._patience

    def weights(self) -> list[Any]:
        if not self._weights:
            raise ConfigurationError("training diverges (its loss is not finite): give a smaller learning_rate")
        return self._weights


def _noise_width(network: Reconstruction) -> int:
    return network.latent if isinstance(network, VariationalAutoencoder) else 0


def _compiled(network: Reconstruction, training: Training, rows: int) -> Any:
    keras = load_keras()
    model = training_model(keras, network)
    steps, passes = _steps(rows, training.batch_size)
    rate = keras.optimizers.schedules.CosineDecay(training.learning_rate, training.epochs * passes * steps)
    model.compile(
        optimizer=keras.optimizers.Adam(rate),
        loss=_objective(keras.ops, network, training),
        steps_per_execution=min(passes * steps, _STEPS_PER_CALL),
        jit_compile=False,
    )
    return model


def _steps(rows: int, batch_size: int) -> tuple[int, int]:
    """How many whole batches there are in a pass, and how many passes in an epoch."""
    steps = max(1, rows // batch_size)
    return steps, -(-_LEAST_STEPS // steps)


def _objective(ops: Any, network: Reconstruction, training: Training) -> Loss:
    """The mean squared error; or the negative evidence lower bound, in nats a row and without its constant."""
    if isinstance(network, Autoencoder):
        return lambda rows, rebuilt: ops.mean(ops.square(rows - rebuilt), axis=-1)
    features, latent = network.features, network.latent
    weight = 0.5 / training.deviation**2

    def negative_bound(rows: Any, both: Any) -> Any:
        rebuilt, mean, log_variance = both[:, :features], both[:, features:-latent], both[:, -latent:]
        divergence = 0.5 * ops.sum(ops.square(mean) + ops.exp(log_variance) - log_variance - 1.0, axis=-1)
        return weight * ops.sum(ops.square(rows - rebuilt), axis=-1) + training.beta * divergence

    return negative_bound


def _train_once(model: Any, examples: _Examples, rows: NDArray[np.intp], batch_size: int) -> None:
    """One epoch; rows that fill no whole batch wait for the next pass, which is in another order."""
    batch = min(batch_size, len(rows))
    steps, passes = _steps(len(rows), batch_size)
    orders = [examples.random.permutation(rows)[: steps * batch] for _ in range(passes)]
    inputs, targets = examples.of(np.concatenate(orders))
    model.fit(inputs, targets, batch_size=batch, epochs=1, shuffle=False, verbose=0)


def _loss(model: Any, validation: tuple[Any, Floats]) -> float:
    inputs, targets = validation
    return float(model.evaluate(inputs, targets, batch_size=_VALIDATION_STEP_ROWS, verbose=0))
