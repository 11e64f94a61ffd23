"""What rows are put through before a window detector sees them: what it gives, keeps, and refuses."""

from dataclasses import replace

import numpy as np
import pytest

from wayside.detectors.artifacts.artifact import Artifact
from wayside.detectors.drift.settings import MissingValues
from wayside.detectors.drift.transforms.registry import describe_transform, restore_transform
from wayside.detectors.drift.transforms.uncertainty import Uncertainty
from wayside.detectors.fitting.window_plan import TransformChoice
from wayside.detectors.fitting.window_transform import code_reference, fit_transform
from wayside.detectors.tabular.table import Table
from wayside.eventing.errors import ConfigurationError

from .conftest import normal_rows

MIXED = Table(np.column_stack([normal_rows(200, 1)[:, :2], np.arange(200) % 2]), ("a", "b", "c"), {2: ("x", "y")})
PROBABILITIES = Table.of(np.random.default_rng(0).dirichlet([1.0, 1.0, 1.0], 50))


@pytest.mark.parametrize(
    ("choice", "table", "names"),
    [
        (TransformChoice("columns"), MIXED, ("a", "b", "c")),
        (TransformChoice("scaled"), MIXED, ("a", "b", "c = x", "c = y", "c = any other")),
        (TransformChoice("pca", components=2), MIXED, ("component 1", "component 2")),
        (TransformChoice("uncertainty"), PROBABILITIES, ("entropy",)),
        (TransformChoice("uncertainty"), Table.of(normal_rows(9, 1)[:, :1]), ("0",)),
    ],
    ids=["columns", "scaled", "pca", "uncertainty", "regression"],
)
def test_a_transform_comes_back_to_the_bit(choice: TransformChoice, table: Table, names: tuple[str, ...]) -> None:
    schema, coded = code_reference(table, choice, MissingValues.REFUSE)
    transform = fit_transform(choice, schema, coded, None)
    restored = restore_transform(describe_transform(transform), schema, transform.arrays())
    assert restored.names == transform.names == names
    assert len(transform.categories) == len(names)
    assert restored.apply(coded).tobytes() == transform.apply(coded).tobytes()
    assert transform.apply(coded).shape == (len(table), len(names))


@pytest.mark.parametrize(
    ("measure", "values"),
    [
        (Uncertainty.ENTROPY, [0.0, np.log(2), np.nan, np.nan]),
        (Uncertainty.LEAST_CONFIDENCE, [0.0, 0.5, np.nan, np.nan]),
        (Uncertainty.MARGIN, [1.0, 0.0, np.nan, np.nan]),
    ],
)
def test_uncertainty_of_what_are_probabilities(measure: Uncertainty, values: list[float]) -> None:
    schema, coded = code_reference(PROBABILITIES, TransformChoice("uncertainty"), MissingValues.DROP)
    transform = fit_transform(TransformChoice("uncertainty", measure=measure), schema, coded, None)
    rows = np.array([[1.0, 0.0, 0.0], [0.5, 0.5, 0.0], [2.0, -1.0, 0.0], [np.nan, 1.0, 0.0]])
    np.testing.assert_allclose(transform.apply(rows)[:, 0], values, atol=1e-12)


def test_principal_components_are_those_of_numpy() -> None:
    rows = normal_rows(300, 2) @ np.diag([5.0, 2.0, 1.0, 1.0])
    schema, coded = code_reference(Table.of(rows), TransformChoice("pca"), MissingValues.REFUSE)
    features = fit_transform(TransformChoice("pca", components=4), schema, coded, None).apply(coded)
    covariance = np.cov(features.T, bias=True)
    np.testing.assert_allclose(covariance, np.diag(np.diag(covariance)), atol=1e-9)
    assert (np.diff(np.diag(covariance)) <= 1e-12).all()


@pytest.mark.parametrize(
    ("choice", "table", "reason"),
    [
        ({"name": "pca", "components": 9}, MIXED, "9 components of 5 features"),
        ({"name": "pca"}, Table.of(np.ones((9, 2))), "no column of the reference varies"),
        ({"name": "uncertainty"}, Table.of(normal_rows(9, 1)), "row 0 holds no class probabilities"),
        ({"name": "uncertainty"}, MIXED, "holds categories, no probabilities"),
        ({"name": "magic"}, MIXED, "no transform 'magic'"),
        ({"name": "encoder"}, MIXED, "give both or neither"),
    ],
    ids=lambda each: str(each.get("name")) if isinstance(each, dict) else None,
)
def test_what_cannot_be_transformed_is_refused(choice: dict, table: Table, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        chosen = TransformChoice(**choice)
        fit_transform(chosen, *code_reference(table, chosen, MissingValues.DROP), None)


def test_an_artifact_without_an_encoder_is_refused(knn: Artifact) -> None:
    chosen = TransformChoice("encoder", encoder=replace(knn))
    with pytest.raises(ConfigurationError, match="a knn detector, which has no encoder"):
        fit_transform(chosen, knn.schema, normal_rows(9, 1), None)
