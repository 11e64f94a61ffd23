"""Networks as values, their ONNX graphs and what runs them, against the same arithmetic in numpy."""

import contextlib
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wayside.detectors.kinds.protocol import Device, Execution, OutOfMemory
from wayside.detectors.networks.blocks import BLOCK_ROWS, LEAST_BLOCK_ROWS, PADDING_ROWS, padded, run_in_blocks
from wayside.detectors.networks.dense import Activation, Dense, Layer
from wayside.detectors.networks.devices import check_device
from wayside.detectors.networks.graph import FEATURE_SCORES, SCORE, scoring_graph
from wayside.detectors.networks.graph_check import check_graph
from wayside.detectors.networks.measure import LEAST_DEVIATION, Measure
from wayside.detectors.networks.memory import is_out_of_memory
from wayside.detectors.networks.reconstruction import (
    Autoencoder,
    Reconstruction,
    VariationalAutoencoder,
    measured,
)
from wayside.detectors.networks.session import Session, has_cuda
from wayside.eventing.errors import ConfigurationError

WIDTH = 6
OUTPUTS = (SCORE, FEATURE_SCORES)


def noisy(network: Dense, random: np.random.Generator) -> Dense:
    """The same network with biases that are not 0, as after training."""
    return network.with_weights([each + random.normal(0, 0.1, each.shape) for each in network.weights])


def autoencoder(activation: Activation = Activation.RELU, width: int = WIDTH, seed: int = 0) -> Autoencoder:
    random = np.random.default_rng(seed)
    encoder, decoder = (Dense.initial(widths, activation, random) for widths in ([width, 7, 3], [3, 7, width]))
    return Autoencoder(noisy(encoder, random), noisy(decoder, random))


def variational(
    activation: Activation = Activation.RELU, width: int = WIDTH, samples: int = 5, seed: int = 0
) -> VariationalAutoencoder:
    random = np.random.default_rng(seed)
    encoder, decoder = (Dense.initial(widths, activation, random) for widths in ([width, 7, 4], [2, 7, width]))
    noise = random.standard_normal((samples, 2), dtype=np.float32)
    return VariationalAutoencoder(noisy(encoder, random), noisy(decoder, random), noise)


def session(network: Reconstruction) -> Session:
    return Session(scoring_graph(network), Execution(), OUTPUTS)


def rows(count: int, width: int = WIDTH, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, width))


@pytest.mark.parametrize("activation", Activation)
@pytest.mark.parametrize("make", [autoencoder, variational])
def test_a_graph_gives_what_numpy_gives(make: Callable[..., Reconstruction], activation: Activation) -> None:
    network = make(activation, width=18)
    given_rows = rows(100, 18)
    expected = network.feature_scores(given_rows)
    scored = session(network)
    assert scored.features == 18
    assert scored.run(given_rows, FEATURE_SCORES) == pytest.approx(expected, rel=1e-5, abs=1e-5)
    assert scored.run(given_rows) == pytest.approx(expected.mean(axis=1), rel=1e-5)


@pytest.mark.parametrize("limit", [np.inf, 0.7], ids=["no limit", "a limit"])
@pytest.mark.parametrize("make", [autoencoder, variational])
def test_a_fitted_measure_is_part_of_the_graph(make: Callable[..., Reconstruction], limit: float) -> None:
    network = measured(replace(make(width=18), measure=Measure(limit)), rows(3000, 18, seed=2))
    given_rows = rows(100, 18)
    expected = network.feature_scores(given_rows)
    scored = session(network)
    assert scored.run(given_rows, FEATURE_SCORES) == pytest.approx(expected, rel=1e-4, abs=1e-4)
    assert scored.run(given_rows) == pytest.approx(network.measure.row_scores(expected), rel=1e-5)


def test_a_fitted_measure_takes_errors_in_units_of_what_is_usual() -> None:
    network, usual = autoencoder(), rows(3000)
    errors = network.errors(usual.astype(np.float32)).mean(axis=0)
    given_rows = rows(50, seed=3)
    wanted = network.errors(given_rows) / (errors + LEAST_DEVIATION**2)
    again = measured(network, usual)
    assert again.feature_scores(given_rows) == pytest.approx(wanted, rel=1e-4)
    assert again.measure.row_scores(wanted) == pytest.approx(np.sqrt((wanted**2).mean(axis=1)))


@pytest.mark.parametrize("make", [autoencoder, variational])
def test_beyond_its_limit_a_value_is_not_rebuilt(make: Callable[..., Reconstruction]) -> None:
    network = replace(make(), measure=Measure(limit=2.0))
    scores = session(network).run(np.array([[10.0] * WIDTH, [100.0] * WIDTH, [1000.0] * WIDTH]))
    assert scores[1] / scores[0] > 10
    assert scores[2] / scores[1] == pytest.approx(100, rel=0.2)


def test_a_quadratic_score_has_room_for_what_is_very_far() -> None:
    network = measured(replace(variational(), measure=Measure(limit=8.0)), rows(200))
    scores = session(network).run(rows(20) * 1e10)
    assert np.isfinite(scores).all()


@pytest.mark.parametrize("make", [autoencoder, variational])
def test_a_network_survives_its_arrays(make: Callable[..., Reconstruction]) -> None:
    network = measured(replace(make(Activation.ELU), measure=Measure(3.0)), rows(50))
    again = type(network).of_arrays(network.arrays())
    assert scoring_graph(again) == scoring_graph(network)


@settings(max_examples=25, deadline=None)
@given(st.data(), st.sampled_from(Activation), st.integers(1, 40), st.integers(1, 11), st.booleans(), st.booleans())
def test_a_row_has_the_same_bits_in_every_batch(
    data: st.DataObject, activation: Activation, width: int, samples: int, is_variational: bool, is_fitted: bool
) -> None:
    network = variational(activation, width, samples) if is_variational else autoencoder(activation, width)
    all_rows = rows(300, width)
    if is_fitted:
        network = measured(replace(network, measure=Measure(1.5)), all_rows)
    scored = session(network)
    scores, features = scored.run(all_rows), scored.run(all_rows, FEATURE_SCORES)
    for _ in range(8):
        chosen = data.draw(st.lists(st.integers(0, len(all_rows) - 1), min_size=1, max_size=70))
        assert np.array_equal(scored.run(all_rows[chosen]), scores[chosen])
        assert np.array_equal(scored.run(all_rows[chosen], FEATURE_SCORES), features[chosen])


def test_more_rows_than_a_block_are_scored_in_order() -> None:
    scored, many = session(variational()), rows(2 * BLOCK_ROWS + 3)
    assert np.array_equal(scored.run(many), np.concatenate([scored.run(many[:700]), scored.run(many[700:])]))


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_what_is_not_finite_stays_in_its_row(value: float) -> None:
    scored, given_rows = session(variational()), rows(5)
    expected = scored.run(given_rows)
    given_rows[2, 3] = value
    scores = scored.run(given_rows)
    assert not np.isfinite(scores[2])
    assert np.array_equal(np.delete(scores, 2), np.delete(expected, 2))


def test_weights_that_are_nan_give_nan() -> None:
    network = autoencoder()
    broken = network.with_weights([each * np.nan for each in network.weights])
    assert np.isnan(session(broken).run(rows(3))).all()


def test_a_far_outlier_of_a_variational_network_still_has_a_score() -> None:
    assert np.isfinite(session(variational()).run(rows(20) * 1e4)).all()


# What is no network


@pytest.mark.parametrize(
    ("make", "says"),
    [
        pytest.param(lambda: Dense(()), "at least one layer", id="no layers"),
        pytest.param(
            lambda: Layer(np.zeros((2, 3), np.float32), np.zeros(2, np.float32), Activation.RELU), "bias", id="bias"
        ),
        pytest.param(
            lambda: Dense((*autoencoder().encoder.layers, *autoencoder().encoder.layers)), "meets", id="chain"
        ),
        pytest.param(lambda: Autoencoder(autoencoder().encoder, autoencoder(width=5).decoder), "fit", id="parts"),
        pytest.param(
            lambda: VariationalAutoencoder(variational().encoder, variational().decoder, np.zeros((0, 2), np.float32)),
            "noise",
            id="no noise",
        ),
        pytest.param(lambda: replace(autoencoder(), measure=Measure(precisions=np.ones(5))), "measure", id="measure"),
        pytest.param(lambda: Measure(limit=0.0), "limit", id="no limit"),
        pytest.param(lambda: Measure(precisions=np.array([1.0, np.nan])), "precisions", id="precisions"),
        pytest.param(lambda: autoencoder().with_weights(autoencoder(width=5).weights), "shapes", id="weights"),
        pytest.param(
            lambda: Autoencoder.of_arrays(
                {**autoencoder().arrays(), "encoder.activations": np.array([0, 99], np.int32)}
            ),
            "activation",
            id="unknown activation",
        ),
    ],
)
def test_parts_that_do_not_fit_are_refused(make: Callable[[], object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        make()


# What is no graph of ours


def changed(change: Callable[[onnx.ModelProto], None]) -> bytes:
    """The graph of an autoencoder after a change."""
    model = onnx.load_from_string(scoring_graph(autoencoder()))
    change(model)
    return bytes(model.SerializeToString())


def move_outside(model: onnx.ModelProto) -> None:
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/hostname")


def hide_outside_in_a_constant(model: onnx.ModelProto) -> None:
    tensor = onnx.TensorProto(data_location=onnx.TensorProto.EXTERNAL, dims=[1], data_type=1)
    model.graph.node.append(onnx.helper.make_node("Constant", [], ["c"], value=tensor))


def branch(model: onnx.ModelProto) -> None:
    inner = onnx.helper.make_graph([], "inner", [], [])
    model.graph.node.append(onnx.helper.make_node("If", ["c"], ["d"], then_branch=inner, else_branch=inner))


def hidden(field: int) -> bytes:
    """An empty message that this field would hold, under a key of 33 bits: of which other readers drop the highest."""
    key, low = field << 3 | 2, []
    for _ in range(4):
        low.append(key & 0x7F | 0x80)
        key >>= 7
    return bytes([*low, 0x10, 0])


def in_two_formats(folder: Path) -> bytes:
    """Bytes that are an ONNX model without a node, and in onnxruntime's own format a graph of an operator that is not
    allowed."""
    rows, score = (onnx.helper.make_tensor_value_info(name, 1, ["n", WIDTH]) for name in ("rows", "score"))
    graph = onnx.helper.make_graph([onnx.helper.make_node("Softmax", ["rows"], ["score"])], "g", [rows], [score])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.optimized_model_filepath = str(folder / "graph.ort")
    onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    other = (folder / "graph.ort").read_bytes()
    at = 0x090108  # whose four bytes are an ONNX field, and the start of another one
    start = at - struct.unpack("<I", other[:4])[0]
    out = bytearray(start + len(other))
    out[:8] = struct.pack("<I", at) + other[4:8]
    rest = len(out) - 17
    out[11:17] = bytes([0x32, *(rest >> 7 * place & 0x7F | 0x80 for place in range(4)), rest >> 28])
    out[start + 8 :] = other[8:]
    return bytes(out) + b"\x3a\x00"  # an empty ONNX graph


def rename_output(model: onnx.ModelProto) -> None:
    model.graph.output[0].name = model.graph.node[-1].output[0] = "other"


def add_input(model: onnx.ModelProto) -> None:
    model.graph.input.append(onnx.helper.make_tensor_value_info("more", onnx.TensorProto.FLOAT, ["n", 2]))


def use_doubles(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.DOUBLE


@pytest.mark.parametrize(
    ("graph", "says"),
    [
        pytest.param(b"", "0 ONNX graphs", id="empty"),
        pytest.param(b"not a graph at all", "no ONNX model", id="text"),
        pytest.param(scoring_graph(autoencoder())[:-40], "no ONNX model", id="cut short"),
        pytest.param(b"\xff" * 64, "no ONNX model", id="endless number"),
        pytest.param(changed(move_outside), "external data", id="external data"),
        pytest.param(changed(hide_outside_in_a_constant), "external data", id="external data in a constant"),
        pytest.param(changed(branch), "graph of its own", id="branch"),
        *(
            pytest.param(scoring_graph(autoencoder()) + hidden(field), "no ONNX model", id=f"hidden field {field}")
            for field in (0, 8, 25)
        ),
        *(
            pytest.param(
                changed(lambda model, name=name: setattr(model.graph.node[0], "op_type", name)),
                name,
                id=f"operator {name}",
            )
            for name in ("Nonsense", "Expand", "Loop", "Range")
        ),
        pytest.param(
            changed(lambda model: model.opset_import.add(domain="ai.onnx", version=18)), "ai.onnx", id="second name"
        ),
        pytest.param(
            changed(lambda model: model.opset_import.add(domain="com.microsoft", version=1)),
            "com.microsoft",
            id="opset",
        ),
        pytest.param(
            changed(lambda model: setattr(model.graph.node[0], "domain", "mine")), "mine", id="operator's domain"
        ),
        pytest.param(changed(lambda model: model.functions.add()), "functions", id="functions"),
        pytest.param(changed(lambda model: model.graph.sparse_initializer.add()), "sparse", id="sparse"),
        pytest.param(changed(rename_output), "gives other", id="output"),
        pytest.param(changed(add_input), "2 inputs", id="input"),
        pytest.param(changed(use_doubles), "cannot run|not float", id="doubles"),
    ],
)
def test_other_graphs_are_refused(graph: bytes, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Session(graph, Execution(), OUTPUTS)


def test_a_graph_in_onnxruntimes_own_format_is_not_loaded(tmp_path: Path) -> None:
    graph = in_two_formats(tmp_path)
    unchecked = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    assert unchecked.get_outputs()[0].name == SCORE
    check_graph(graph)  # as an ONNX model it is harmless, and so it has to be read as one
    with pytest.raises(ValueError, match="cannot run the graph"):
        Session(graph, Execution(), (SCORE,))


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_damaged_graphs_are_read_or_refused_and_no_more(data: st.DataObject) -> None:
    graph = bytearray(scoring_graph(autoencoder()))
    for _ in range(data.draw(st.integers(1, 4))):
        graph[data.draw(st.integers(0, len(graph) - 1))] = data.draw(st.integers(0, 255))
    part = bytes(graph[: data.draw(st.integers(0, len(graph)))])
    with contextlib.suppress(ValueError):
        assert check_graph(part) is None


def a_column_of_scores(model: onnx.ModelProto) -> None:
    model.graph.node[-1].op_type = "Identity"
    del model.graph.node[-1].input[1:]
    model.graph.output[0].type.tensor_type.shape.dim.add(dim_value=1)


def test_a_graph_of_another_shape_of_results_is_refused() -> None:
    graph = changed(lambda model: model.graph.node[-1].input.__setitem__(0, model.graph.node[-2].input[1]))
    with pytest.raises(ValueError, match=r"of shape \(.*\) for 4 rows|cannot run"):
        Session(graph, Execution(), OUTPUTS).run(rows(3))
    with pytest.raises(ValueError, match=r"of shape \(4, 6\) for 4 rows"):
        Session(scoring_graph(autoencoder()), Execution(), tuple(reversed(OUTPUTS))).run(rows(3))


def test_a_column_of_scores_is_a_score_a_row() -> None:
    as_column = Session(changed(a_column_of_scores), Execution(), OUTPUTS).run(rows(3))
    assert as_column.tobytes() == session(autoencoder()).run(rows(3)).tobytes()


# Blocks and memory


class Full:
    """A runner on a device with room for so many rows; remembers what it was given."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.seen: list[int] = []

    def __call__(self, block: np.ndarray) -> np.ndarray:
        self.seen.append(len(block))
        if len(block) > self.room:
            raise OutOfMemory("full")
        return block.sum(axis=1)


@pytest.mark.parametrize("count", [1, 3, 4, 5, 1023, 1024, 1025, 3000])
@pytest.mark.parametrize("room", [16, 100, 4000])
def test_what_does_not_fit_is_halved(count: int, room: int) -> None:
    run, given_rows = Full(room), rows(count)
    assert run_in_blocks(run, given_rows) == pytest.approx(given_rows.sum(axis=1), rel=1e-5, abs=1e-5)
    assert all(size % PADDING_ROWS == 0 and size <= BLOCK_ROWS for size in run.seen)


def test_a_device_without_room_for_the_smallest_block_is_out_of_memory() -> None:
    run = Full(room=8)
    with pytest.raises(OutOfMemory):
        run_in_blocks(run, rows(1000))
    assert min(run.seen) == LEAST_BLOCK_ROWS
    assert run_in_blocks(run, rows(8)).shape == (8,)  # and it goes on with what fits


def test_padding_adds_zeros_and_what_overflows_is_infinite() -> None:
    block = padded(np.array([[1.0, 1e300]]))
    assert block.dtype == np.float32
    assert block.tolist() == [[1.0, np.inf], *[[0.0, 0.0]] * (PADDING_ROWS - 1)]


@pytest.mark.parametrize(
    ("error", "is_full"),
    [
        (MemoryError(), True),
        (RuntimeError("[ONNXRuntimeError] : BFCArena: Failed to allocate memory for requested buffer"), True),
        (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"), True),
        (RuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate"), True),
        (RuntimeError("CUDA failure 700: illegal address"), False),
    ],
    ids=["machine", "onnxruntime", "torch", "jax", "another"],
)
def test_a_full_device_is_told_from_other_failures(error: Exception, is_full: bool) -> None:
    assert is_out_of_memory(error) is is_full


# Devices


def test_the_cpu_is_always_there() -> None:
    assert check_device(Device.CPU) == "cpu"


def test_a_gpu_that_is_not_there_is_refused() -> None:
    if has_cuda():
        pytest.skip("onnxruntime has CUDA here")
    with pytest.raises(ConfigurationError, match="no GPU here"):
        check_device(Device.GPU)
    with pytest.raises(ConfigurationError, match="no GPU here"):
        Session(scoring_graph(autoencoder()), Execution(Device.GPU), OUTPUTS)
