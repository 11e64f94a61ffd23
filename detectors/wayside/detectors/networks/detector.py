"""What autoencoder and VAE share as detectors: the scoring graph beside the weights, and how rows are scored.

Invariant: the graph that is kept gives what the trained network gives; that is checked on rows before it is kept.
"""

from typing import ClassVar, Self

import numpy as np

from wayside.detectors.kinds.protocol import Arrays, Execution, Matrix, RowDetector, Scores, State
from wayside.detectors.networks.blocks import BLOCK_ROWS, LEAST_BLOCK_ROWS, PADDING_ROWS
from wayside.detectors.networks.dense import Activation
from wayside.detectors.networks.devices import Executor, network_executor
from wayside.detectors.networks.graph import FEATURE_SCORES, SCORE, scoring_graph
from wayside.detectors.networks.reconstruction import Autoencoder, Reconstruction, VariationalAutoencoder
from wayside.eventing.errors import ConfigurationError

SCORE_FILE = "score.onnx"
MOST_UNITS = 4096
_SAMPLED_BLOCK_ROWS = 4 * BLOCK_ROWS  # rows times samples at once
_CHECKED_ROWS = 64
_AGREEMENT = 1e-3  # of float32 with float64 arithmetic, where an error is a small difference of large numbers


class ReconstructionDetector(RowDetector):
    """Scores a row by the squared errors of what the network makes of it, as the network's `Measure` says."""

    gives_feature_scores: ClassVar[bool] = True
    network: ClassVar[type[Autoencoder] | type[VariationalAutoencoder]]

    def __init__(self, state: State, executor: Executor) -> None:
        self._state = state
        self._executor = executor

    @property
    def features(self) -> int:
        return self._executor.features

    @classmethod
    def of_network(cls, network: Reconstruction, rows: Matrix) -> Self:
        """The detector of a trained network. Raises `ConfigurationError` where its graph is not what it should be."""
        detector = cls.restore(State(network.arrays(), {SCORE_FILE: scoring_graph(network)}), Execution())
        some = rows[:_CHECKED_ROWS]
        wanted = network.feature_scores(some.astype(np.float32).astype(np.float64))
        smallest = 1e-6 * (1.0 + float(np.square(some).max())) * network.measure.precisions
        if not np.allclose(detector.feature_scores(some), wanted, rtol=_AGREEMENT, atol=smallest, equal_nan=True):
            raise ConfigurationError("the scoring graph does not give what the trained network gives")
        return detector

    def score(self, rows: Matrix) -> Scores:
        return self._executor.run(rows)

    def feature_scores(self, rows: Matrix) -> Matrix:
        return self._executor.run(rows, FEATURE_SCORES).astype(np.float64)

    def state(self) -> State:
        return self._state

    @classmethod
    def restore(cls, state: State, execution: Execution) -> Self:
        return cls(
            state,
            network_executor(
                state.files[SCORE_FILE],
                lambda: cls.network.of_arrays(state.arrays),
                execution,
                (SCORE, FEATURE_SCORES),
                _block_rows(state.arrays),
            ),
        )


def widths_of(hidden: str) -> list[int]:
    """The widths of hidden layers from a text like `64-32`. Raises `ConfigurationError`."""
    try:
        widths = [int(width) for width in hidden.split("-")]
    except ValueError as exc:
        raise ConfigurationError(f"hidden is {hidden!r}: give widths like 64-32, from the input inwards") from exc
    if not all(1 <= width <= MOST_UNITS for width in widths):
        raise ConfigurationError(f"hidden is {hidden!r}: each layer has 1 to {MOST_UNITS} units")
    return widths


def activation_of(name: str) -> Activation:
    """The activation of hidden layers by its name. Raises `ConfigurationError`."""
    try:
        return Activation(name)
    except ValueError as exc:
        raise ConfigurationError(f"activation is {name!r}: give one of {', '.join(Activation)}") from exc


def check_range(name: str, value: int, most: int) -> None:
    """Raises `ConfigurationError` where a count is not 1 to `most`."""
    if not 1 <= value <= most:
        raise ConfigurationError(f"{name} is {value}: give 1 to {most}")


def check_positive(name: str, value: float) -> None:
    """Raises `ConfigurationError` where a number is not above 0; it may be infinite."""
    if not value > 0:
        raise ConfigurationError(f"{name} is {value:g}: give a number above 0")


def _block_rows(arrays: Arrays) -> int:
    """How many rows at once: fewer where each is scored by many samples."""
    if "noise" not in arrays:
        return BLOCK_ROWS
    rows = _SAMPLED_BLOCK_ROWS // len(arrays["noise"]) // PADDING_ROWS * PADDING_ROWS
    return min(BLOCK_ROWS, max(LEAST_BLOCK_ROWS, rows))
