"""Concept drift on a stream of errors: ADWIN, DDM and KSWIN are those of the papers, with river as the oracle."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import ks_2samp

from wayside.detectors.kinds import ddm
from wayside.detectors.kinds.adwin import AdaptiveWindowing, AdwinOptions
from wayside.detectors.kinds.kswin import distances
from wayside.detectors.kinds.protocol import Execution, Sample
from wayside.detectors.kinds.registry import window_detector
from wayside.detectors.kinds.sequential.run_lengths import RunLengths
from wayside.eventing.errors import ConfigurationError

from .sequential_streams import advance, alarms, errors, fit

KINDS = ("adwin", "ddm", "kswin")
ORACLE = np.load(Path(__file__).parent / "oracles" / "river.npz")


@pytest.fixture
def fitted(error_detectors: dict) -> dict:
    return error_detectors


def adwin_alarms(values: np.ndarray, delta: float, **options: Any) -> list[int]:
    """As river's is used: a row at a time, afresh after each alarm."""
    detector = AdaptiveWindowing(
        AdwinOptions(max_rows=1 << 16, warm_start=0, **options), np.zeros(2), RunLengths.unmeasured()
    )
    memory, found = detector.memory(), []
    for row, value in enumerate(values.tolist()):
        peaks, memory = detector.follow(memory, np.array([[value]]))
        if peaks[0] > -np.log(delta):
            found.append(row)
            memory = detector.memory()
    return found


def until(row: int, name: str) -> list[int]:
    """River's alarms before a row, of which there are some."""
    found = ORACLE[name]
    assert found[0] < row
    return found[found < row].tolist()


@pytest.mark.parametrize("stream", ["labels", "numbers"])
@pytest.mark.parametrize("delta", [0.3])
def test_adwin_cuts_where_river_does(stream: str, delta: float) -> None:
    assert adwin_alarms(ORACLE[stream][:4000], delta) == until(4000, f"adwin_{stream}_{delta}")


def test_adwin_cuts_where_river_does_with_other_options() -> None:
    found = adwin_alarms(ORACLE["labels"][:4000], 0.01, clock=7, max_buckets=3, min_window_length=12)
    assert found == until(4000, "adwin_clock")


@pytest.mark.parametrize("threshold", [2.0, 3.0])
def test_ddm_alarms_where_river_does(threshold: float) -> None:
    """River starts from nothing and looks at no minimum within its first 30 rows."""
    nothing = np.array([[np.inf], [0.0]])
    sums, lowest, found = np.zeros((3, 1)), nothing, []
    for row, value in enumerate(ORACLE["labels"][:5000].tolist()):
        peaks, memory = ddm.advance({"sums": sums, "lowest": lowest}, np.array([[value]]))
        sums, lowest = memory["sums"], memory["lowest"] if memory["sums"][0, 0] > 30 else nothing
        if memory["sums"][0, 0] > 30 and peaks[0] > threshold:
            found.append(row)
            sums, lowest = np.zeros((3, 1)), nothing
    assert found == until(5000, f"ddm_{threshold:.1f}")


def test_kswin_takes_the_distance_that_scipy_does() -> None:
    """Of the latest 40 rows from the 60 before them, at each of the rows that follow the first 100."""
    values = ORACLE["grades"][:140]
    found = distances(values[:, None], np.arange(7.0), 40, 40)[:, 0]
    for row in range(40):
        window = values[row + 1 : row + 101]
        assert found[row] == pytest.approx(ks_2samp(window[60:], window[:60]).statistic)


@pytest.mark.parametrize("kind", KINDS)
def test_errors_that_do_not_drift_keep_the_budget(fitted: dict, kind: str) -> None:
    found = alarms(fitted[kind], errors(10_000, seed=2), level=0.05)
    assert len(found) <= 5 * 3  # 100 windows


@pytest.mark.parametrize("kind", KINDS)
def test_more_errors_are_found(fitted: dict, kind: str) -> None:
    found = alarms(fitted[kind], np.concatenate([errors(2000, seed=3), errors(1500, 0.3, seed=4)]), level=1e-3)
    assert found
    assert 20 <= found[0] <= 26


@pytest.mark.parametrize(("kind", "finds"), [("adwin", True), ("kswin", True), ("ddm", False)])
def test_fewer_errors_are_a_change_that_ddm_passes_over(fitted: dict, kind: str, finds: bool) -> None:
    often = kind == "kswin"  # whose 100 rows do not tell one error in ten from none
    stream = np.concatenate([errors(1000, 0.4 if often else 0.1, seed=3), np.zeros((1000, 1))])
    detector = fit(kind, errors(4000, 0.4)) if often else fitted[kind]
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
