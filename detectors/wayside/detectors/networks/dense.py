"""A dense network as a value: its layers, their weights, and what it computes.

Source: Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks", AISTATS 2010,
for the weights that training starts from.
Invariant: the value says all: the Keras model and the ONNX graph that are made of it compute what `forward` computes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from wayside.detectors.kinds.protocol import Arrays

Weights = NDArray[np.float32]


class Activation(StrEnum):
    """What a layer applies to each of its sums. Artifacts hold the position in this list: add at its end."""

    LINEAR = "linear"
    RELU = "relu"
    TANH = "tanh"
    SIGMOID = "sigmoid"
    ELU = "elu"

    def apply(self, sums: NDArray[Any]) -> NDArray[Any]:
        results: NDArray[Any] = sums
        if self is Activation.RELU:
            results = np.maximum(sums, 0)
        elif self is Activation.TANH:
            results = np.tanh(sums)
        elif self is Activation.SIGMOID:
            results = 1 / (1 + np.exp(-sums))
        elif self is Activation.ELU:
            results = np.where(sums > 0, sums, np.expm1(np.minimum(sums, 0)))
        return results


_ACTIVATIONS = tuple(Activation)


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """`activation(rows @ kernel + bias)`; `kernel` has shape (inputs, units), `bias` (units,)."""

    kernel: Weights
    bias: Weights
    activation: Activation

    def __post_init__(self) -> None:
        if self.kernel.ndim != 2 or not self.kernel.size or self.bias.shape != self.kernel.shape[1:]:
            raise ValueError(f"a layer's kernel has shape {self.kernel.shape} and its bias {self.bias.shape}")


@dataclass(frozen=True, slots=True, eq=False)
class Dense:
    """Layers, one or more, each as wide as the next one expects."""

    layers: tuple[Layer, ...]

    def __post_init__(self) -> None:
        if not self.layers:
            raise ValueError("a network has at least one layer")
        for first, second in pairwise(self.layers):
            if first.kernel.shape[1] != second.kernel.shape[0]:
                raise ValueError(
                    f"a layer of {first.kernel.shape[1]} units meets one of {second.kernel.shape[0]} inputs"
                )

    @classmethod
    def initial(cls, widths: Sequence[int], activation: Activation, random: np.random.Generator) -> Self:
        """Untrained: `widths` from the inputs to the outputs, `activation` in all layers but the last, linear one."""
        layers = []
        for at, (inputs, units) in enumerate(pairwise(widths)):
            limit = np.sqrt(6.0 / (inputs + units))
            kernel = random.uniform(-limit, limit, (inputs, units)).astype(np.float32)
            is_last = at == len(widths) - 2
            layers.append(Layer(kernel, np.zeros(units, np.float32), Activation.LINEAR if is_last else activation))
        return cls(tuple(layers))

    @property
    def inputs(self) -> int:
        return int(self.layers[0].kernel.shape[0])

    @property
    def outputs(self) -> int:
        return int(self.layers[-1].kernel.shape[1])

    @property
    def weights(self) -> list[Weights]:
        """Kernel and bias of each layer in turn."""
        return [each for layer in self.layers for each in (layer.kernel, layer.bias)]

    def with_weights(self, weights: Sequence[NDArray[Any]]) -> Self:
        """The same layers with other weights, in the order of `weights`. Raises `ValueError` where they do not fit."""
        floats = [np.asarray(each, np.float32) for each in weights]
        if [each.shape for each in floats] != [each.shape for each in self.weights]:
            raise ValueError("weights of other shapes than the network's")
        pairs = zip(floats[::2], floats[1::2], self.layers, strict=True)
        return type(self)(tuple(Layer(kernel, bias, layer.activation) for kernel, bias, layer in pairs))

    def forward(self, rows: NDArray[Any]) -> NDArray[Any]:
        """The outputs, shape (…, outputs), for rows of shape (…, inputs), in the precision of the rows."""
        for layer in self.layers:
            rows = layer.activation.apply(rows @ layer.kernel + layer.bias)
        return rows

    def arrays(self, name: str) -> Arrays:
        """The network under a name among the arrays of an artifact."""
        codes = np.array([_ACTIVATIONS.index(layer.activation) for layer in self.layers], np.int32)
        return {f"{name}.activations": codes} | {f"{name}.{at:02}": each for at, each in enumerate(self.weights)}

    @classmethod
    def of_arrays(cls, arrays: Arrays, name: str) -> Self:
        """The inverse of `arrays`. Raises `KeyError` or `ValueError` where they hold no such network."""
        codes = arrays[f"{name}.activations"].tolist()
        if not all(0 <= code < len(_ACTIVATIONS) for code in codes):
            raise ValueError(f"network {name!r} has an activation that is not known here")
        weights = [np.asarray(arrays[f"{name}.{at:02}"], np.float32) for at in range(2 * len(codes))]
        pairs = zip(weights[::2], weights[1::2], codes, strict=True)
        return cls(tuple(Layer(kernel, bias, _ACTIVATIONS[code]) for kernel, bias, code in pairs))
