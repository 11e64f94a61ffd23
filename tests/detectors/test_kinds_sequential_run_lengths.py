"""Run lengths: rates of first passages, their tail, and what they make of a window."""

import numpy as np
import pytest

from wayside.detectors.kinds.sequential.run_lengths import RunLengths
from wayside.detectors.kinds.sequential.worlds import Plan, Simulated, simulate


def independent(rate: float = 1.0, seed: int = 0) -> Simulated:
    """Blocks of 64 rows of exponential values: a height h is passed at the rate exp(-rate h) a row."""
    peaks = np.random.default_rng(seed).exponential(1 / rate, size=(9, 2048, 64)).max(axis=2)
    return Simulated(peaks, 64, 64)


@pytest.mark.parametrize("height", [4.0, 6.0, 8.0, 10.0])
def test_rates_are_those_that_were_simulated(height: float) -> None:
    found = float(RunLengths.measured(independent(), shade=1.0).log_rate(np.array(height)))
    assert found == pytest.approx(-height, abs=0.25)


@pytest.mark.parametrize("height", [14.0, 18.0])
def test_the_tail_falls_no_faster_than_was_seen(height: float) -> None:
    found = float(RunLengths.measured(independent()).log_rate(np.array(height)))
    assert -height - 0.3 <= found <= -0.8 * height


@pytest.mark.parametrize("level", [0.2, 0.01, 1e-4, 1e-7])
def test_height_is_the_inverse_of_p_value(level: float) -> None:
    runs = RunLengths.measured(independent())
    assert runs.p_value(runs.height(level, 100), 100) == pytest.approx(level, rel=1e-6)


def test_where_nothing_ever_rose_what_does_is_as_rare_as_all_that_was_seen() -> None:
    runs = RunLengths.measured(Simulated(np.zeros((9, 2048)), 64, 64))
    assert runs.p_value(0.0, 100) == pytest.approx(1.0)
    assert runs.p_value(5.0, 100) == pytest.approx(100 / (8 * 2048 * 64), rel=1e-3)
    assert runs.height(1e-9, 100) == np.inf


def test_worlds_that_differ_raise_the_rate() -> None:
    alike = independent()
    shifts = np.where(np.arange(2048) % 64 < 32, -0.5, 0.5)
    apart = Simulated(alike.peaks + shifts, 64, 64)
    mean_rate = np.log(np.cosh(0.5))
    found = float(RunLengths.measured(apart, shade=1.0).log_rate(np.array(8.0)))
    assert found > -8.0 + mean_rate + 0.1


@pytest.mark.parametrize(
    ("heights", "log_rates", "slope"),
    [([0.0, 0.0], [0.0, -1.0], 1.0), ([0.0, 1.0], [-1.0, 0.0], 1.0), ([0.0], [0.0, 1.0], 1.0), ([0.0], [0.0], -1.0)],
    ids=["flat-heights", "rising-rates", "shapes", "rising-tail"],
)
def test_tables_that_are_none_are_refused(heights: list, log_rates: list, slope: float) -> None:
    with pytest.raises(ValueError, match="run lengths"):
        RunLengths(np.array(heights), np.array(log_rates), slope)


def test_described_tells_the_expected_run_time() -> None:
    told = RunLengths.measured(independent()).described(0.01, 200)
    assert "expected run time until it does is 19,900 rows" in told


def test_streams_follow_from_the_seed_and_tell_of_progress() -> None:
    told: list[tuple[int, int]] = []

    def walk(memory: np.ndarray, drawn: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return drawn.max(axis=0).astype(float), memory

    plan = Plan(512, 3, 16)
    one, other, another = (
        simulate(walk, np.zeros, 1000, plan, seed, lambda stage, done, total: told.append((done, total)))
        for seed in (0, 0, 1)
    )
    assert one.peaks.shape == (3, 512)
    assert np.array_equal(one.peaks, other.peaks)
    assert not np.array_equal(one.peaks, another.peaks)
    assert told[:2] == [(256, 512), (512, 512)]
