"""What rows are put through before a window detector sees them: what it gives, keeps, and refuses."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from wayside.detectors.artifacts.artifact import Artifact, CalibrationRows
from wayside.detectors.artifacts.folder import load_folder, save
from wayside.detectors.drift.settings import MissingValues
from wayside.detectors.drift.transforms.registry import describe_transform, restore_transform
from wayside.detectors.drift.transforms.uncertainty import Uncertainty
from wayside.detectors.fitting.cli import main
from wayside.detectors.fitting.window_plan import TransformChoice
from wayside.detectors.fitting.window_transform import code_reference, encoder_of, fit_transform
from wayside.detectors.kinds.autoencoder import AutoencoderDetector, AutoencoderOptions
from wayside.detectors.kinds.protocol import Execution
from wayside.detectors.kinds.vae import VaeDetector, VaeOptions
from wayside.detectors.scoring.judge import restore_window_detector
from wayside.detectors.tabular.preprocessing import Preprocessing
from wayside.detectors.tabular.schema import Schema
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
    def fit() -> None:
        chosen = TransformChoice(**choice)
        fit_transform(chosen, *code_reference(table, chosen, MissingValues.DROP), None)

    with pytest.raises(ConfigurationError, match=reason):
        fit()


def test_an_artifact_without_an_encoder_is_refused(knn: Artifact) -> None:
    chosen = TransformChoice("encoder", encoder=replace(knn))
    with pytest.raises(ConfigurationError, match="a knn detector, which has no encoder"):
        fit_transform(chosen, knn.schema, normal_rows(9, 1), None)


def an_encoder(kind: str) -> Artifact:
    """As `fit` makes one of rows that miss a value now and then, but for the training."""
    rows = normal_rows(300, 6)
    rows[::50, 1] = np.nan
    schema = Schema.of(Table(rows, ("a", "b", "c", "d"), {}))
    preprocessing = Preprocessing.fit(schema, rows)
    options = VaeOptions(hidden="6", latent=2) if kind == "vae" else AutoencoderOptions(hidden="6", latent=2)
    network = options.initial(preprocessing.features, np.random.default_rng(3))
    detector = {"vae": VaeDetector, "autoencoder": AutoencoderDetector}[kind]
    fitted = detector.of_network(network, preprocessing.apply(rows))
    scores = CalibrationRows(np.linspace(0.0, 1.0, 1000), None)
    return Artifact(
        kind=kind,
        name="outlier",
        alpha=0.01,
        schema=schema,
        state=fitted.state(),
        preprocessing=preprocessing,
        calibration=scores,
    )


@pytest.mark.parametrize("kind", ["autoencoder", "vae"])
def test_the_encoder_of_a_fitted_artifact_makes_the_features(kind: str, tmp_path: Path) -> None:
    save(an_encoder(kind), tmp_path / "encoder")
    encoder = load_folder(tmp_path / "encoder")
    rows = normal_rows(400, 7)
    rows[5, 1] = np.nan
    text = "\n".join(",".join("" if np.isnan(cell) else f"{cell:.17g}" for cell in row) for row in rows[:, ::-1])
    (tmp_path / "rows.csv").write_text(f"d,c,b,a\n{text}\n")  # columns in another order: they go by name
    arguments = ("--data", f"{tmp_path}/rows.csv", "--window", "20", "--alpha", "0.05", "--report", "none")
    assert main(["ks", *arguments, "--encoder", f"{tmp_path}/encoder", "--out", f"{tmp_path}/out"], {}) == 0
    _, windowed = restore_window_detector(load_folder(tmp_path / "out"), Execution())
    assert windowed.transform.names == ("latent 1", "latent 2")
    features = windowed.transform.apply(rows)
    assert np.isfinite(features).all()
    assert features.tobytes() == encoder_of(encoder).apply(rows).tobytes()
    assert encoder.preprocessing is not None
    weights = encoder.state.arrays
    layer = np.tanh(encoder.preprocessing.apply(rows) @ weights["encoder.00"] + weights["encoder.01"])
    np.testing.assert_allclose(features, (layer @ weights["encoder.02"] + weights["encoder.03"])[:, :2], atol=1e-5)
