"""Concept drift on a stream of errors: ADWIN, DDM and KSWIN are those of the papers, with river as the oracle."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wayside.detectors.kinds import ddm
from wayside.detectors.kinds.adwin import AdaptiveWindowing, AdwinOptions
from wayside.detectors.kinds.kswin import distances
from wayside.detectors.kinds.protocol import Execution, Sample
from wayside.detectors.kinds.registry import window_detector
from wayside.detectors.kinds.sequential.run_lengths import RunLengths
from wayside.eventing.errors import ConfigurationError

from .sequential_streams import advance, alarms, fit

KINDS = ("adwin", "ddm", "kswin")
ORACLE = np.load(Path(__file__).parent / "oracles" / "river.npz")


def errors(count: int, share: float = 0.1, seed: int = 1) -> np.ndarray:
    return (np.random.default_rng(seed).random((count, 1)) < share) * 1.0


@pytest.fixture(scope="module")
def fitted() -> dict:
    return {kind: fit(kind, errors(4000)) for kind in KINDS}


def adwin_alarms(values: np.ndarray, delta: float, **options: Any) -> list[int]:
    """As river's is used: a row at a time, afresh after each alarm."""
    detector = AdaptiveWindowing(AdwinOptions(max_rows=1 << 16, **options), RunLengths.unmeasured())
    memory, found = detector.memory(), []
    for row, value in enumerate(values.tolist()):
        peaks, memory = detector.follow(memory, np.array([[value]]))
        if peaks[0] > -np.log(delta):
            found.append(row)
            memory = detector.memory()
    return found


@pytest.mark.parametrize("stream", ["labels", "numbers"])
@pytest.mark.parametrize("delta", [0.3])
def test_adwin_cuts_where_river_does(stream: str, delta: float) -> None:
    assert adwin_alarms(ORACLE[stream], delta) == ORACLE[f"adwin_{stream}_{delta}"].tolist()


def test_adwin_cuts_where_river_does_with_other_options() -> None:
    found = adwin_alarms(ORACLE["labels"], 0.01, clock=7, max_buckets=3, min_window_length=12)
    assert found == ORACLE["adwin_clock"].tolist()


@pytest.mark.parametrize("threshold", [2.0, 3.0])
def test_ddm_alarms_where_river_does(threshold: float) -> None:
    """River starts from nothing and looks at no minimum within its first 30 rows."""
    nothing = np.array([[np.inf], [0.0]])
    sums, lowest, found = np.zeros((3, 1)), nothing, []
    for row, value in enumerate(ORACLE["labels"].tolist()):
        peaks, memory = ddm.advance({"sums": sums, "lowest": lowest}, np.array([[value]]))
        sums, lowest = memory["sums"], memory["lowest"] if memory["sums"][0, 0] > 30 else nothing
        if memory["sums"][0, 0] > 30 and peaks[0] > threshold:
            found.append(row)
            sums, lowest = np.zeros((3, 1)), nothing
    assert found == ORACLE[f"ddm_{threshold:.1f}"].tolist()


def test_kswin_alarms_where_river_does() -> None:
    values, least = ORACLE["grades"], float(ORACLE["kswin_distance"])
    found, start = [], 0
    while start + 80 <= len(values):
        rest = values[start:, None]
        far = np.flatnonzero(distances(rest, np.arange(7.0), 40, len(rest) - 80)[:, 0] >= least - 1e-12)
        first = distances(np.vstack([[[0.0]], rest[:80]]), np.arange(7.0), 40, 1)[0, 0] >= least - 1e-12
        if not first and not len(far):
            break
        found.append(start + 79 if first else start + 80 + int(far[0]))
        start = found[-1] + 1
    assert found == ORACLE["kswin_rows"].tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_errors_that_do_not_drift_keep_the_budget(fitted: dict, kind: str) -> None:
    found = alarms(fitted[kind], errors(20_000, seed=2), level=0.05)
    assert len(found) <= 10 * 2.4  # 200 windows


@pytest.mark.parametrize("kind", KINDS)
def test_more_errors_are_found(fitted: dict, kind: str) -> None:
    found = alarms(fitted[kind], np.concatenate([errors(2000, seed=3), errors(1500, 0.3, seed=4)]), level=1e-3)
    assert found
    assert 20 <= found[0] <= 26


@pytest.mark.parametrize(("kind", "finds"), [("adwin", True), ("kswin", True), ("ddm", False)])
def test_fewer_errors_are_a_change_that_ddm_passes_over(fitted: dict, kind: str, finds: bool) -> None:
    stream = np.concatenate([errors(1000, 0.4, seed=3), errors(1000, 0.1, seed=4)])
    detector = fit(kind, errors(4000, 0.4))
    assert bool(alarms(detector, stream, level=1e-3)) == finds


@pytest.mark.parametrize("kind", KINDS)
def test_state_and_memory_restore_to_the_same_bits(fitted: dict, kind: str) -> None:
    detector = fitted[kind]
    again = window_detector(kind).restore(detector.state(), Execution())
    rows = errors(600, seed=5)
    one, other = advance(detector, rows), advance(again, rows)
    assert [(each.statistic, each.p_value) for each in one] == [(each.statistic, each.p_value) for each in other]


@pytest.mark.parametrize("kind", KINDS)
def test_a_path_does_not_hang_on_where_windows_are_cut(fitted: dict, kind: str) -> None:
    rows = errors(6000, seed=6)  # beyond every horizon
    (whole,), parts = advance(fitted[kind], rows, 6000), advance(fitted[kind], rows, 37)
    assert max(part.statistic for part in parts) == pytest.approx(whole.statistic, rel=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_a_memory_keeps_its_shape(fitted: dict, kind: str) -> None:
    detector = fitted[kind]
    _, memory = detector.advance(detector.memory(), Sample.untimed(errors(5000, seed=7)))
    assert {name: part.shape for name, part in memory.items()} == {
        name: part.shape for name, part in detector.memory().items()
    }


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (np.zeros((600, 2)), "follows one column"),
        (np.zeros((100, 1)), "needs 500 reference rows"),
        (np.zeros((600, 1)), "cannot tell how errors vary"),
        (np.full((600, 1), np.nan), "takes finite numbers"),
    ],
    ids=["two-columns", "few-rows", "never-an-error", "missing"],
)
def test_what_cannot_be_followed_is_refused(kind: str, rows: np.ndarray, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        fit(kind, rows)
