"""Preprocessing: what is missing is filled and told, categories become indicators, columns one scale; row by row."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from wayside.detectors.kinds.protocol import Matrix
from wayside.detectors.tabular.preprocessing import Preprocessing, Scaling
from wayside.detectors.tabular.schema import ColumnSchema, ColumnType, Schema
from wayside.detectors.tabular.table import Table
from wayside.eventing.errors import ConfigurationError

NAN = np.nan
MAGNITUDES = st.one_of(st.just(0.0), st.floats(1e-100, 1e100), st.floats(-1e100, -1e-100))
CODED = np.array([[1.0, 0.0, 2.0], [3.0, 1.0, NAN], [5.0, 0.0, 4.0], [7.0, NAN, 6.0]])
MIXED = Table(CODED, ("size", "colour", "age"), {1: ("red", "blue")})


def fitted(table: Table, scaling: Scaling = Scaling.STANDARD) -> Preprocessing:
    return Preprocessing.fit(Schema.of(table), table.values, scaling)


def test_features_are_numbers_indicators_and_what_is_missing() -> None:
    preprocessing = fitted(MIXED, Scaling.NONE)
    assert preprocessing.sources.tolist() == [0, 1, 1, 1, 1, 2, 2]  # red, blue, another, missing; age, missing
    assert preprocessing.apply(CODED).tolist() == [
        [1.0, 1.0, 0.0, 0.0, 0.0, 2.0, 0.0],
        [3.0, 0.0, 1.0, 0.0, 0.0, 4.0, 1.0],  # the median
        [5.0, 1.0, 0.0, 0.0, 0.0, 4.0, 0.0],
        [7.0, 0.0, 0.0, 0.0, 1.0, 6.0, 0.0],
    ]
    unseen = preprocessing.apply(np.array([[0.0, 2.0, 0.0]]))
    assert unseen.tolist() == [[0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0]]


@pytest.mark.parametrize(
    ("scaling", "centre", "spread"),
    [
        (Scaling.STANDARD, lambda column: column.mean(), lambda column: column.std()),
        (Scaling.ROBUST, np.median, lambda column: np.subtract(*np.percentile(column, (75, 25))) / 1.349),
        (Scaling.RANGE, np.min, np.ptp),
        (Scaling.NONE, lambda column: 0.0, lambda column: 1.0),
    ],
    ids=[scaling.value for scaling in Scaling],
)
def test_scalings(scaling: Scaling, centre: object, spread: object) -> None:
    rows = np.random.default_rng(1).lognormal(size=(200, 3)) * [1, 1000, 0.001]
    expected = [(column - centre(column)) / spread(column) for column in rows.T]  # type: ignore[operator]
    assert np.allclose(fitted(Table.of(rows), scaling).apply(rows).T, expected, rtol=1e-12)


@pytest.mark.parametrize("scaling", [*Scaling])
def test_a_constant_column_keeps_its_own_unit(scaling: Scaling) -> None:
    preprocessing = fitted(Table.of(np.full((50, 1), 1e6 + 0.1)), scaling)
    same, other = preprocessing.apply(np.array([[1e6 + 0.1], [1e6 + 2.6]]))[:, 0]
    assert other - same == pytest.approx(2.5)


def test_a_column_that_mostly_repeats_has_its_deviation_as_its_robust_scale() -> None:
    rows = np.zeros((100, 1))
    rows[:10] = 8.0
    assert fitted(Table.of(rows), Scaling.ROBUST).scale.tolist() == [rows.std()]


@pytest.mark.parametrize(
    ("scaling", "expected"),
    [(Scaling.STANDARD, 10.0), (Scaling.ROBUST, 10.0), (Scaling.RANGE, 1.0), (Scaling.NONE, 1.0)],
)
def test_a_category_never_seen_is_as_far_out_as_the_rarest_can_be(scaling: Scaling, expected: float) -> None:
    table = Table(np.zeros((99, 1)), ("colour",), {0: ("red",)})
    scaled = fitted(table, scaling).apply(np.array([[1.0]]))
    assert scaled[0, 1] == pytest.approx(expected, rel=0.01)  # one in a hundred: deviation 0.0995


@given(
    arrays(np.float64, st.tuples(st.integers(1, 12), st.just(3)), elements=MAGNITUDES),
    st.sampled_from([*Scaling]),
)
def test_features_of_fitted_rows_are_finite_and_stand_alone(rows: Matrix, scaling: Scaling) -> None:
    preprocessing = fitted(Table.of(rows), scaling)
    features = preprocessing.apply(rows)
    assert np.isfinite(features).all()
    alone = [preprocessing.apply(row[None]) for row in rows]
    assert np.concatenate(alone).tobytes() == features.tobytes()


ANY = st.one_of(MAGNITUDES, st.sampled_from([NAN, np.inf, -np.inf]))
TYPES = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=4)


@given(TYPES, st.data(), st.sampled_from([*Scaling]))
def test_a_row_that_does_not_fit_is_never_finite_and_one_that_does_always_is(
    types: list[tuple[bool, bool]], data: st.DataObject, scaling: Scaling
) -> None:
    schema = Schema(
        tuple(
            ColumnSchema(f"c{at}", ColumnType.CATEGORY, ("x", "y"), missing)
            if is_category
            else ColumnSchema(f"c{at}", missing=missing)
            for at, (is_category, missing) in enumerate(types)
        )
    )
    values = [st.sampled_from([0.0, 1.0, 2.0, NAN]) if is_category else ANY for is_category, _ in types]
    fitted_on = np.arange(12.0).reshape(6, 2)[:, :1].repeat(len(types), axis=1) % 2
    preprocessing = Preprocessing.fit(schema, fitted_on, scaling)
    rows = np.array(data.draw(st.lists(st.tuples(*values), min_size=1, max_size=5)))
    fits = ~schema.misfits(rows).any(axis=1)
    assert np.isfinite(preprocessing.apply(rows)).all(axis=1).tolist() == fits.tolist()
    assert [bool(np.isfinite(preprocessing.apply(row[None])).all()) for row in rows] == fits.tolist()


def test_it_leaves_its_input_as_it_is() -> None:
    coded = CODED.copy()
    fitted(MIXED).apply(coded)
    assert np.array_equal(coded, CODED, equal_nan=True)


def test_folding_adds_up_what_the_features_of_a_column_add() -> None:
    preprocessing = fitted(MIXED)
    scores = np.arange(14.0).reshape(2, 7)
    assert preprocessing.fold(scores).tolist() == [[0.0, 1 + 2 + 3 + 4, 5 + 6], [7.0, 8 + 9 + 10 + 11, 12 + 13]]
    plain = fitted(Table.of(np.random.default_rng(2).normal(size=(5, 3))))
    assert plain.fold(scores[:, :3]).tolist() == scores[:, :3].tolist()


def test_what_overflows_is_not_hidden() -> None:
    preprocessing = fitted(Table.of(np.array([[0.0], [1e-10]])))
    assert np.isinf(preprocessing.apply(np.array([[1e308]]))).all()


def test_its_arrays_are_all_of_it() -> None:
    preprocessing = fitted(MIXED)
    again = Preprocessing(preprocessing.schema, **preprocessing.arrays())
    assert again.apply(CODED).tobytes() == preprocessing.apply(CODED).tobytes()


@pytest.mark.parametrize("rows", [np.full((3, 1), NAN), np.zeros((0, 1))], ids=["all missing", "no rows"])
def test_a_column_without_any_value_is_refused(rows: Matrix) -> None:
    with pytest.raises(ConfigurationError, match="column 1 has no value in any row: leave it out"):
        fitted(Table.of(rows))


@pytest.mark.parametrize("scaling", [Scaling.STANDARD, Scaling.ROBUST, Scaling.RANGE])
def test_values_whose_squares_overflow_are_refused(scaling: Scaling) -> None:
    with pytest.raises(ConfigurationError, match="too large for float64"):
        fitted(Table.of(np.array([[1e308], [-1e308], [1e308]])), scaling)


def test_a_scale_by_which_fitted_rows_overflow_is_refused() -> None:
    rows = np.array([[0.0], [1e-307], [2e-307], [3e-307], [1e100]])
    with pytest.raises(ConfigurationError, match="too large for float64"):
        fitted(Table.of(rows), Scaling.ROBUST)


@pytest.mark.parametrize(
    "changed",
    [
        {"scale": np.zeros(2)},
        {"scale": np.array([1.0, -1.0])},
        {"scale": np.array([1.0, NAN])},
        {"centre": np.array([0.0, np.inf])},
        {"fill": np.array([0.0, NAN])},
        {"fill": np.zeros(3)},
        {"centre": np.zeros(3)},
        {"scale": np.ones((2, 2))},
    ],
    ids=lambda each: str(each),
)
def test_arrays_that_would_hide_something_are_refused(changed: dict[str, np.ndarray]) -> None:
    schema = Schema((ColumnSchema(None, ColumnType.NUMBER, missing=False),) * 2)
    given = {"fill": np.zeros(2), "centre": np.zeros(2), "scale": np.ones(2)}
    with pytest.raises(ValueError, match="preprocessing"):
        Preprocessing(schema, **{**given, **changed})
