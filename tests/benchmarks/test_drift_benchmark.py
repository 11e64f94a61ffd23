"""The drift benchmarks' own arithmetic: levels of simulated weeks, draws without drift, power at a true level."""

import numpy as np
import pytest
from drift_data import Population
from drift_null import Case, draw, week_levels
from drift_power import summarise


def test_levels_of_simulated_weeks_come_to_one_a_week() -> None:
    levels = week_levels(10, 168, np.random.default_rng(0))
    assert levels.sum() == pytest.approx(10, rel=0.02)
    assert levels.max() > 4 * levels.min() > 0, "by night windows take longer"


def test_a_reference_shares_no_row_with_its_windows() -> None:
    rows = np.arange(60_000.0)[:, None]
    reference, windows = draw(Population.of_numbers("rows", rows), Case("ks", "rows", window=100), 3)
    first_pass = [next(windows) for _ in range(580)]
    seen = np.concatenate(first_pass).ravel()
    assert len(np.unique(seen)) == len(seen)
    assert not np.intersect1d(seen, reference).size


def test_a_pool_of_few_windows_is_refused() -> None:
    with pytest.raises(SystemExit, match="leaves 8000 rows"):
        draw(Population.of_numbers("rows", np.zeros((10_000, 1))), Case("ks", "rows", window=100), 0)


def test_power_is_taken_at_the_level_that_a_test_really_has() -> None:
    calm = np.column_stack([np.linspace(0.3, 1.0, 100), np.zeros(100)])  # a test that never says less than 0.3
    found = summarise([np.concatenate([calm, [[0.9, 0.0], [0.2, 1.0], [0.2, 1.0], [0.8, 0.0]]])], 100)
    assert (found.power, found.delay_rows) == (0.5, 200)
