"""Writes the scoring graph of a reconstruction network in ONNX: rows in, `score` and `feature_scores` out.

Source: the ONNX operator set 18, which onnxruntime has read since 1.14.
Invariant: every operator treats a row of several as it treats the row alone. ReduceMean along a row does not (it sums
in an order that depends on where the row lies in memory), so the mean over the features is a matrix product.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from wayside.detectors.networks.dense import Activation, Dense, Layer
from wayside.detectors.networks.measure import Measure
from wayside.detectors.networks.reconstruction import (
    LARGEST_HALF_LOG_VARIANCE,
    Autoencoder,
    Reconstruction,
    VariationalAutoencoder,
)
from wayside.eventing.errors import MissingExtra

SCORE, FEATURE_SCORES = "score", "feature_scores"
_ROWS = "rows"
_OPSET, _IR_VERSION = 18, 8
_ROOM = 2.0**30
_OPERATORS = {
    Activation.RELU: "Relu",
    Activation.TANH: "Tanh",
    Activation.SIGMOID: "Sigmoid",
    Activation.ELU: "Elu",
}


def scoring_graph(network: Reconstruction) -> bytes:
    """The network as an ONNX model: input `rows` float32 (n, features), outputs `score` (n,) and `feature_scores`
    (n, features). Equal networks give equal bytes. Raises `MissingExtra` where `onnx` is not installed."""
    graph = _Graph()
    seen = _add_seen(graph, network.measure)
    if isinstance(network, Autoencoder):
        errors = _add_autoencoder(graph, network, seen)
    else:
        errors = _add_variational(graph, network, seen)
    graph.add("Mul", errors, graph.constant(network.measure.precisions), output=FEATURE_SCORES)
    _add_score(graph, network)
    return graph.serialise(network.features)


def _add_seen(graph: "_Graph", measure: Measure) -> str:
    if np.isinf(measure.limit):
        return _ROWS
    return graph.add("Clip", _ROWS, *(graph.constant(np.array(each)) for each in (-measure.limit, measure.limit)))


def _add_autoencoder(graph: "_Graph", network: Autoencoder, seen: str) -> str:
    rebuilt = _add_dense(graph, network.decoder, _add_dense(graph, network.encoder, seen))
    error = graph.add("Sub", _ROWS, rebuilt)
    return graph.add("Mul", error, error)


def _add_variational(graph: "_Graph", network: VariationalAutoencoder, seen: str) -> str:
    """Samples come first, (samples, n, …): so a mean over them adds whole matrices, the fastest order, measured."""
    latent, samples = network.latent, network.samples
    encoded = _add_dense(graph, _with_half_log_variance(network.encoder, latent), seen)
    mean, half = graph.add_two("Split", encoded, graph.constant(np.array([latent, latent])), axis=1)
    half = graph.add("Min", half, graph.constant(np.array(LARGEST_HALF_LOG_VARIANCE)))
    spread = graph.add("Mul", graph.add("Exp", half), graph.constant(network.noise[:, None, :]))
    drawn = graph.add("Reshape", graph.add("Add", mean, spread), graph.constant(np.array([-1, latent])))
    rebuilt = _add_dense(graph, network.decoder, drawn)
    by_sample = graph.add("Reshape", rebuilt, graph.constant(np.array([samples, -1, network.features])))
    error = graph.add("Sub", by_sample, _ROWS)
    return graph.add("ReduceMean", graph.add("Mul", error, error), graph.constant(np.array([0])), keepdims=0)


def _add_score(graph: "_Graph", network: Reconstruction) -> None:
    """Feature scores are made small before they are squared, by a power of two, which is exact: so float32 has room."""
    mean = graph.constant(np.full((network.features, 1), 1.0 / network.features))
    only = graph.constant(np.array([1]))
    if not network.measure.is_quadratic:
        graph.add("Squeeze", graph.add("MatMul", FEATURE_SCORES, mean), only, output=SCORE)
        return
    small = graph.add("Mul", FEATURE_SCORES, graph.constant(np.array(1.0 / _ROOM)))
    root = graph.add("Sqrt", graph.add("MatMul", graph.add("Mul", small, small), mean))
    graph.add("Squeeze", graph.add("Mul", root, graph.constant(np.array(_ROOM))), only, output=SCORE)


def _with_half_log_variance(encoder: Dense, latent: int) -> Dense:
    """The encoder whose log variances come halved: one operator fewer, and exact, since a half is a power of two."""
    last = encoder.layers[-1]
    if last.activation is not Activation.LINEAR:
        raise ValueError("a variational encoder ends in a linear layer")
    halves = np.repeat(np.array([1.0, 0.5], np.float32), latent)
    return Dense((*encoder.layers[:-1], Layer(last.kernel * halves, last.bias * halves, last.activation)))


def _add_dense(graph: "_Graph", network: Dense, rows: str) -> str:
    for layer in network.layers:
        rows = graph.add("Gemm", rows, graph.constant(layer.kernel), graph.constant(layer.bias))
        if layer.activation is not Activation.LINEAR:
            rows = graph.add(_OPERATORS[layer.activation], rows)
    return rows


class _Graph:
    """Nodes and constants in the making, named by their number."""

    def __init__(self) -> None:
        try:
            import onnx  # half a second to import, which only fitting should pay
        except ImportError as exc:
            raise MissingExtra("writing a network's graph", "fit") from exc
        self._onnx = onnx
        self._nodes: list[Any] = []
        self._constants: list[Any] = []

    def constant(self, values: NDArray[Any]) -> str:
        """Whole numbers stay int64, which shapes and axes are; all else becomes float32."""
        name = f"c{len(self._constants)}"
        array = np.ascontiguousarray(values if values.dtype == np.int64 else values.astype(np.float32))
        self._constants.append(self._onnx.numpy_helper.from_array(array.reshape(values.shape), name))
        return name

    def add(self, operator: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        name = output or f"n{len(self._nodes)}"
        self._nodes.append(self._onnx.helper.make_node(operator, inputs, [name], **attributes))
        return name

    def add_two(self, operator: str, *inputs: str, **attributes: Any) -> tuple[str, str]:
        names = f"n{len(self._nodes)}a", f"n{len(self._nodes)}b"
        self._nodes.append(self._onnx.helper.make_node(operator, inputs, names, **attributes))
        return names

    def serialise(self, features: int) -> bytes:
        helper, float32 = self._onnx.helper, self._onnx.TensorProto.FLOAT
        graph = helper.make_graph(
            self._nodes,
            "scores",
            [helper.make_tensor_value_info(_ROWS, float32, ["n", features])],
            [
                helper.make_tensor_value_info(SCORE, float32, ["n"]),
                helper.make_tensor_value_info(FEATURE_SCORES, float32, ["n", features]),
            ],
            self._constants,
        )
        opsets = [helper.make_opsetid("", _OPSET)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION, producer_name="wayside")
        self._onnx.checker.check_model(model, full_check=True)
        content: bytes = model.SerializeToString(deterministic=True)
        return content
