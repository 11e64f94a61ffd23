"""A forest of isolation trees as an ONNX graph that sums the path lengths of a row.

Source: ai.onnx.ml's TreeEnsembleRegressor; scikit-learn compares float32 features with float64 thresholds.
Invariant: every comparison comes out as scikit-learn's, since a float32 is at most t exactly where it is at most t
rounded down to float32; and every sum of leaves is exact in float32, since leaves are whole multiples of one power of
two that leaves room for the largest sum: neither its order nor the batch can change a bit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, log2
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wayside.detectors.kinds.protocol import Array, Vector

SCORE = "score"
_INPUT = "rows"
_FLOAT32_BITS = 24
_EULER_GAMMA = 0.5772156649015329
_OPSET, _ML_OPSET, _IR_VERSION = 17, 3, 8


@dataclass(frozen=True, slots=True, eq=False)
class IsolationTree:
    """Nodes in an order where parents come first. `left` and `right` are -1 at a leaf; a row goes left where its
    `feature` is at most `threshold`; `rows` says how many rows of the fit came by."""

    left: NDArray[np.int64]
    right: NDArray[np.int64]
    feature: NDArray[np.int64]
    threshold: Vector
    rows: NDArray[np.int64]

    @property
    def is_leaf(self) -> NDArray[np.bool_]:
        return self.left < 0

    def path_lengths(self) -> Vector:
        """A node's depth, and what splitting its rows further would add to it on average."""
        depth = np.zeros(len(self.left))
        for parent in np.flatnonzero(~self.is_leaf):
            depth[[self.left[parent], self.right[parent]]] = depth[parent] + 1
        return depth + mean_path_length(self.rows)


def mean_path_length(rows: Array) -> Vector:
    """c(n): the mean depth of a row in a random tree of n rows (Liu, Ting and Zhou 2008, equation 1)."""
    n = np.maximum(np.asarray(rows, np.float64), 2.0)
    long = 2.0 * (np.log(n - 1.0) + _EULER_GAMMA) - 2.0 * (n - 1.0) / n
    return np.where(rows <= 1, 0.0, np.where(rows == 2, 1.0, long))


def forest_graph(trees: Sequence[IsolationTree], features: int) -> bytes:
    """The graph: float32 rows (n, features) to `score` (n, 1), the sum of path lengths over the trees."""
    from onnx import TensorProto, helper  # what builds graphs is not installed where they are served

    ensemble = helper.make_node(
        "TreeEnsembleRegressor",
        [_INPUT],
        [SCORE],
        domain="ai.onnx.ml",
        n_targets=1,
        aggregate_function="SUM",
        **_nodes(trees),
        **_leaves(trees),
    )
    rows = helper.make_tensor_value_info(_INPUT, TensorProto.FLOAT, ["n", features])
    sums = helper.make_tensor_value_info(SCORE, TensorProto.FLOAT, ["n", 1])
    graph = helper.make_graph([ensemble], "isolation_forest", [rows], [sums])
    opsets = [helper.make_opsetid("", _OPSET), helper.make_opsetid("ai.onnx.ml", _ML_OPSET)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION)
    return bytes(model.SerializeToString(deterministic=True))


def _nodes(trees: Sequence[IsolationTree]) -> dict[str, Any]:
    leaf = np.concatenate([tree.is_leaf for tree in trees])
    inner = {name: np.concatenate([getattr(tree, name) for tree in trees]) for name in ("left", "right", "feature")}
    kept = {name: np.where(leaf, 0, values).tolist() for name, values in inner.items()}
    thresholds = np.concatenate([round_down(tree.threshold) for tree in trees])
    return {
        "nodes_treeids": _tree_ids(trees).tolist(),
        "nodes_nodeids": np.concatenate([np.arange(len(tree.left)) for tree in trees]).tolist(),
        "nodes_modes": np.where(leaf, "LEAF", "BRANCH_LEQ").tolist(),
        "nodes_featureids": kept["feature"],
        "nodes_values": np.where(leaf, 0.0, thresholds).tolist(),
        "nodes_truenodeids": kept["left"],
        "nodes_falsenodeids": kept["right"],
    }


def _leaves(trees: Sequence[IsolationTree]) -> dict[str, Any]:
    leaf = np.concatenate([tree.is_leaf for tree in trees])
    nodes = np.concatenate([np.arange(len(tree.left)) for tree in trees])
    return {
        "target_treeids": _tree_ids(trees)[leaf].tolist(),
        "target_nodeids": nodes[leaf].tolist(),
        "target_ids": [0] * int(leaf.sum()),
        "target_weights": np.concatenate(_exact_weights(trees)).tolist(),
    }


def _exact_weights(trees: Sequence[IsolationTree]) -> list[Vector]:
    """The leaves' path lengths, each rounded to what a float32 sum over all trees can hold without rounding."""
    weights = [tree.path_lengths()[tree.is_leaf] for tree in trees]
    largest_sum = sum(float(each.max()) for each in weights) + len(trees)  # each may be rounded up
    step = 2.0 ** (ceil(log2(largest_sum)) - _FLOAT32_BITS)
    return [np.rint(each / step) * step for each in weights]


def _tree_ids(trees: Sequence[IsolationTree]) -> NDArray[np.intp]:
    return np.repeat(np.arange(len(trees)), [len(tree.left) for tree in trees])


def round_down(values: Vector) -> NDArray[np.float32]:
    """The largest float32 that is not above each value."""
    with np.errstate(over="ignore"):  # below the lowest float32 there is -inf, which no row is at most
        nearest = values.astype(np.float32)
        below = np.nextafter(nearest, np.float32(-np.inf))
    return np.where(nearest.astype(np.float64) > values, below, nearest)
