"""Rows a second in process, by the rows of a call: every kind as the service calls it, and the VAE's graph alone.

Invariant: a figure is the best of several rounds, the rounds of all that is compared in turn, so that what else the
machine does hits them alike.
"""

import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import onnxruntime
from detectors_data import Matrix
from detectors_document import Grid, number

from wayside.detectors.artifacts.artifact import Artifact
from wayside.detectors.scoring.judge import RowJudge

BATCHES = (1, 16, 256, 2048)
BARE = "the vae's graph in onnxruntime"
DETECTOR = "the vae's detector alone"
_ROUNDS = 7
_ROUND_S = 0.03

Call = Callable[[Matrix], object]
Rates = Mapping[str, Mapping[int, float]]


def judge_of(artifact: Artifact) -> Call:
    """All that is done to rows once they are decoded: preprocessing, score, quantising."""
    return RowJudge.of(artifact).score


def bare(graph: bytes) -> Call:
    """The graph without anything around it, on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    name, outputs = session.get_inputs()[0].name, [session.get_outputs()[0].name]
    return lambda rows: session.run(outputs, {name: rows.astype(np.float32)})


def rates(calls: Mapping[str, Call], rows: Matrix, batches: Sequence[int] = BATCHES) -> Rates:
    """Rows a second of each, by the rows of a call."""
    found: dict[str, dict[int, float]] = {name: {} for name in calls}
    for size in batches:
        batch = np.ascontiguousarray(rows[:size])
        counts = {name: _calls_of_a_round(call, batch) for name, call in calls.items()}
        times = [{name: _time_s(call, batch, counts[name]) for name, call in calls.items()} for _ in range(_ROUNDS)]
        for name in calls:
            found[name][size] = size * counts[name] / min(each[name] for each in times)
    return found


def _calls_of_a_round(call: Call, batch: Matrix) -> int:
    call(batch)  # what is made at the first call is made now
    once_s = _time_s(call, batch, 3) / 3
    return max(1, round(_ROUND_S / once_s))


def _time_s(call: Call, batch: Matrix, count: int) -> float:
    start_s = time.perf_counter()
    for _ in range(count):
        call(batch)
    return time.perf_counter() - start_s


def grid(found: Rates) -> Grid:
    """A line a kind."""
    columns = ("in process, rows/s", *(f"{size:,} a call" for size in BATCHES))
    return Grid(columns, tuple((name, *(number(rate[size]) for size in BATCHES)) for name, rate in found.items()))
