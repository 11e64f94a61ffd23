"""The isolation forest's graph: scikit-learn's comparisons to the bit, its scores, and sums without rounding."""

import time
from math import fsum, nextafter

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.ensemble import IsolationForest as Forest

from wayside.detectors.kinds.forest_graph import forest_graph, mean_path_length, round_down
from wayside.detectors.kinds.iforest import ForestOptions, IsolationForest
from wayside.detectors.kinds.protocol import Device, Execution, FitContext, State
from wayside.detectors.networks.graph_check import check_graph

REFERENCE = np.random.default_rng(3).normal(size=(2000, 18))
ROWS = np.random.default_rng(4).normal(size=(1000, 18)) * 1.5
FLOAT32 = st.floats(width=32, allow_nan=False, allow_infinity=False)


@pytest.fixture(scope="module")
def forest() -> IsolationForest:
    return IsolationForest.fit(REFERENCE, ForestOptions(), FitContext(seed=5))


def leaves_of(forest: IsolationForest) -> list[np.ndarray]:
    """The leaves' path lengths, tree by tree."""
    node = onnx.load_from_string(forest.state().files["forest.onnx"]).graph.node[0]
    found = {each.name: each for each in node.attribute}
    weights, trees = np.array(found["target_weights"].floats, np.float32), np.array(found["target_treeids"].ints)
    return [weights[trees == tree] for tree in range(trees.max() + 1)]


@pytest.mark.parametrize(
    ("trees", "samples", "rows"), [(100, 256, 2000), (1, 256, 2000), (300, 64, 2000), (20, 4096, 2000), (50, 256, 2)]
)
def test_scores_are_scikit_learns(trees: int, samples: int, rows: int) -> None:
    ours = IsolationForest.fit(REFERENCE[:rows], ForestOptions(trees, samples), FitContext(seed=5))
    theirs = Forest(n_estimators=trees, max_samples=min(samples, rows), random_state=5).fit(REFERENCE[:rows])
    assert np.allclose(ours.score(ROWS), -theirs.score_samples(ROWS), rtol=1e-5, atol=0)


def test_rows_on_a_cut_go_where_scikit_learn_sends_them() -> None:
    """Whole numbers, and thresholds that fall on them or next to them."""
    rng = np.random.default_rng(6)
    reference = rng.integers(0, 4, size=(400, 3)).astype(np.float64)
    ours = IsolationForest.fit(reference, ForestOptions(), FitContext(seed=1))
    theirs = Forest(n_estimators=100, max_samples=256, random_state=1).fit(reference)
    cuts = np.concatenate([each.tree_.threshold[each.tree_.feature >= 0] for each in theirs.estimators_])[:300]
    around = np.concatenate([reference, *(np.repeat(values[:, None], 3, axis=1) for values in neighbourhood(cuts))])
    assert np.allclose(ours.score(around), -theirs.score_samples(around), rtol=1e-5, atol=0)


def neighbourhood(cuts: np.ndarray) -> list[np.ndarray]:
    nearest = cuts.astype(np.float32)
    beside = [np.nextafter(nearest, np.float32(side)) for side in (-np.inf, np.inf)]
    return [values.astype(np.float64) for values in (nearest, *beside)]


@settings(max_examples=50)
@given(FLOAT32, st.one_of(FLOAT32, st.floats(-3e38, 3e38)))
def test_a_float32_is_at_most_a_threshold_where_it_is_at_most_it_rounded_down(value: float, threshold: float) -> None:
    for near in (threshold, nextafter(value, -np.inf), nextafter(value, np.inf), value):
        rounded = round_down(np.array([near]))[0]
        assert (np.float32(value) <= rounded) == (value <= near)


@pytest.mark.parametrize("trees", [1, 7, 100])
def test_every_sum_of_leaves_is_exact_in_float32(trees: int) -> None:
    leaves = leaves_of(IsolationForest.fit(REFERENCE, ForestOptions(trees), FitContext()))
    rng = np.random.default_rng(7)
    highest = np.array([each.max() for each in leaves])
    for chosen in [highest, *(np.array([rng.choice(each) for each in leaves]) for _ in range(20))]:
        for order in (chosen, chosen[::-1], rng.permutation(chosen)):
            assert np.add.accumulate(order, dtype=np.float32)[-1] == fsum(chosen)


@settings(max_examples=50)
@given(arrays(np.float64, (5, 18), elements=st.floats(allow_nan=False, allow_infinity=False)))
def test_any_finite_row_has_a_finite_score(forest: IsolationForest, rows: np.ndarray) -> None:
    scores = forest.score(rows)
    assert ((scores > 0) & (scores <= 1)).all()


def test_threads_change_no_bit(forest: IsolationForest) -> None:
    threaded = IsolationForest.restore(forest.state(), Execution(threads=2))
    assert threaded.score(ROWS).tobytes() == forest.score(ROWS).tobytes()


def test_it_scores_on_the_cpu_whatever_is_asked(forest: IsolationForest) -> None:
    restored = IsolationForest.restore(forest.state(), Execution(Device.GPU))
    assert restored.score(ROWS[:3]).tobytes() == forest.score(ROWS[:3]).tobytes()


@pytest.mark.parametrize(("rows", "expected"), [(0, 0.0), (1, 0.0), (2, 1.0), (256, 10.244770920)])
def test_mean_path_length_is_that_of_the_paper(rows: int, expected: float) -> None:
    assert mean_path_length(np.array(rows)) == pytest.approx(expected)


@pytest.mark.parametrize("graph", [b"", b"\x00" * 100, b"no graph"])
def test_a_broken_graph_is_refused(graph: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        IsolationForest.restore(State({"expected": np.array([1.0])}, {"forest.onnx": graph}), Execution())


@pytest.mark.parametrize("expected", [0.0, -1.0, np.nan, np.inf])
def test_a_sum_that_cannot_be_expected_is_refused(forest: IsolationForest, expected: float) -> None:
    with pytest.raises(ValueError, match="expected"):
        IsolationForest.restore(State({"expected": np.array([expected])}, forest.state().files), Execution())


def test_the_largest_forest_that_may_be_asked_for_is_fitted_and_restored_at_once() -> None:
    reference = np.random.default_rng(2).normal(size=(1 << 16, 2))
    forest = IsolationForest.fit(reference, ForestOptions(4, 1 << 16), FitContext())
    started = time.process_time()
    check_graph(forest.state().files["forest.onnx"])
    assert time.process_time() - started < 0.3  # 0.01 s here; a field at a time it was 0.6 s


def test_equal_trees_give_equal_bytes() -> None:
    graphs = [IsolationForest.fit(REFERENCE, ForestOptions(5), FitContext()).state().files for _ in range(2)]
    assert graphs[0] == graphs[1]
    with pytest.raises(ValueError, match="need at least one array"):
        forest_graph([], 3)
