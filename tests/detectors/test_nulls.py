"""Design effects of rows that are alike where they lie together, and the joint law of columns' least p-values."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wayside.detectors.nulls.dependence import design_effects
from wayside.detectors.nulls.joint import JointNull


def blocks(rng: np.random.Generator, rows: int, block: int, columns: int = 3) -> np.ndarray:
    return np.repeat(rng.normal(size=(rows // block, columns)), block, axis=0)


@pytest.mark.parametrize("block", [1, 5, 20])
def test_rows_repeated_in_blocks_count_once(block: int) -> None:
    found = [design_effects(blocks(np.random.default_rng(seed), 8000, block), 200) for seed in range(8)]
    assert np.mean(found) == pytest.approx(block, rel=0.2)


def test_categories_scatter_by_the_same_measure() -> None:
    flags = (blocks(np.random.default_rng(1), 8000, 10) > 0).astype(float)
    assert design_effects(flags, 200, (2, 2, 2)) == pytest.approx([10, 10, 10], rel=0.35)


def test_a_fixed_cycle_in_every_window_is_no_licence() -> None:
    cycle = np.tile(np.arange(50.0), 80)[:, None]
    assert design_effects(cycle, 200).tolist() == [1.0]


@pytest.mark.parametrize("values", [np.zeros((400, 1)), np.full((400, 1), np.nan)], ids=["constant", "missing"])
def test_a_constant_column_has_no_effect(values: np.ndarray) -> None:
    assert design_effects(values, 100).tolist() == [1.0]


@pytest.mark.parametrize("rows", [1, 7, 9, 30])
def test_few_rows_are_cut_into_four_windows_or_taken_for_independent(rows: int) -> None:
    found = design_effects(np.random.default_rng(0).normal(size=(rows, 2)), 200)
    assert found.shape == (2,)
    assert (found >= 1).all()
    assert np.isfinite(found).all()


def least_of(columns: int, independent: int, windows: int = 2000) -> np.ndarray:
    drawn = np.random.default_rng(4).uniform(size=(windows, independent))
    return np.repeat(drawn, columns // independent, axis=1).min(axis=1)


def test_columns_that_repeat_each_other_count_once() -> None:
    null = JointNull.of(least_of(12, 3), 12)
    assert null.p_value(0.01) == pytest.approx(0.03, rel=0.35)
    assert null.p_value(1e-4) == pytest.approx(3e-4, rel=0.8)


def test_independent_columns_come_to_bonferroni() -> None:
    null = JointNull.of(least_of(12, 12), 12)
    assert null.p_value(1e-3) == pytest.approx(0.012, rel=0.3)
    assert null.p_value(1e-6) == pytest.approx(12e-6)


@given(st.lists(st.floats(0, 1), min_size=60, max_size=200), st.floats(0, 1), st.floats(0, 1), st.integers(1, 40))
def test_p_values_rise_with_the_least_and_stay_below_bonferroni(
    drawn: list[float], one: float, other: float, columns: int
) -> None:
    null = JointNull.of(np.array(drawn), columns)
    low, high = sorted((one, other))
    assert 0.0 <= null.p_value(low) <= null.p_value(high) <= 1.0
    assert null.p_value(high) <= min(1.0, columns * high)


def test_too_few_windows_tell_no_tail() -> None:
    with pytest.raises(ValueError, match="more than 50"):
        JointNull.of(np.ones(50), 3)


def test_draws_that_met_a_value_count_though_the_tail_is_beyond_them() -> None:
    null = JointNull.of(np.array([1e-3] * 40 + [1.0] * 960), 40)
    assert null.p_value(1e-3) == pytest.approx(0.04, rel=0.3)
