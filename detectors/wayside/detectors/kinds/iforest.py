"""`iforest`: isolation forest, how few random cuts set a row apart.

Source: Liu, Ting and Zhou, "Isolation forest", ICDM 2008, as scikit-learn's `IsolationForest` grows it. The trees are
kept as an ONNX graph and walked by onnxruntime's compiled kernel, some four times as fast as numpy can.
Invariant: the score is scikit-learn's -score_samples, in (0, 1], within 1e-5: the graph sums path lengths exactly, and
what is left is done in float64.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from wayside.detectors.kinds.forest_graph import SCORE, IsolationTree, forest_graph, mean_path_length
from wayside.detectors.kinds.protocol import Execution, FitContext, Matrix, RowDetector, State, Vector
from wayside.eventing.errors import ConfigurationError

_GRAPH = "forest.onnx"
_LARGEST = float(np.finfo(np.float32).max)
_MOST_LEAVES = 1 << 18  # a graph of some 15 MB, restored in a quarter of a second


@dataclass(frozen=True, slots=True)
class ForestOptions:
    """`trees` of at most `samples` rows each, and at most 262144 rows in all trees together."""

    trees: int = 100
    samples: int = 256

    def __post_init__(self) -> None:
        if not 1 <= self.trees <= 1000:
            raise ConfigurationError(f"trees is {self.trees}: give 1 to 1000")
        if not 2 <= self.samples <= 1 << 16:
            raise ConfigurationError(f"samples is {self.samples}: give 2 to {1 << 16}")
        if self.trees * self.samples > _MOST_LEAVES:
            raise ConfigurationError(
                f"{self.trees} trees of {self.samples} samples: give fewer, at most {_MOST_LEAVES} samples in all"
            )


class IsolationForest(RowDetector):
    """`graph` sums path lengths over the trees; `expected` is what that sum is on average, above 0."""

    kind: ClassVar[str] = "iforest"
    summary: ClassVar[str] = "isolation forest"
    options: ClassVar[type[ForestOptions]] = ForestOptions

    def __init__(self, graph: bytes, expected: float, execution: Execution) -> None:
        if not 0 < expected < np.inf:
            raise ValueError(f"'expected' is {expected}")
        from wayside.detectors.networks.session import Session  # onnxruntime, which other kinds do without

        # there is no kernel for trees on a GPU
        self._session = Session(graph, Execution(threads=execution.threads), (SCORE,))
        self._graph, self._expected = graph, expected

    @property
    def features(self) -> int:
        return self._session.features

    @classmethod
    def fit(cls, rows: Matrix, options: ForestOptions, context: FitContext) -> Self:
        if len(rows) < 2:
            raise ConfigurationError(f"iforest needs at least 2 rows to fit on, there are {len(rows)}")
        from sklearn.ensemble import IsolationForest as Forest  # a second to import, which only fitting should pay

        samples = min(options.samples, len(rows))
        forest = Forest(n_estimators=options.trees, max_samples=samples, random_state=context.seed % 2**32)
        forest.fit(_within_float32(rows))
        graph = forest_graph([_tree_of(each) for each in forest.estimators_], rows.shape[1])
        expected = options.trees * float(mean_path_length(np.array(samples)))
        return cls(graph, expected, Execution())

    def score(self, rows: Matrix) -> Vector:
        if not len(rows):
            return np.empty(0)
        lengths = self._session.run(_within_float32(rows)).astype(np.float64)
        scores: Vector = np.exp2(-lengths / self._expected)
        return scores

    def state(self) -> State:
        return State({"expected": np.array([self._expected])}, {_GRAPH: self._graph})

    @classmethod
    def restore(cls, state: State, execution: Execution) -> Self:
        return cls(state.files[_GRAPH], float(state.arrays["expected"].item()), execution)


def _within_float32(rows: Matrix) -> Matrix:
    """A value beyond float32 is on the same side of every threshold as the largest float32."""
    return np.clip(rows, -_LARGEST, _LARGEST)


def _tree_of(estimator: Any) -> IsolationTree:
    tree = estimator.tree_
    return IsolationTree(tree.children_left, tree.children_right, tree.feature, tree.threshold, tree.n_node_samples)
