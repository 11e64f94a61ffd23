"""Artifacts for the speed benchmark: of adserver's own weights and trees, or of ours where there are none; and others.

Invariant: what is served takes rows that are already scaled, as adserver's detectors do, so that both are sent the same
bytes; an artifact is calibrated, as every artifact is.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from detectors_data import Matrix
from numpy.typing import NDArray

from wayside.detectors.artifacts.artifact import Artifact, CalibrationRows
from wayside.detectors.artifacts.folder import save
from wayside.detectors.fitting.fit import FitSettings, fit_artifact
from wayside.detectors.kinds.forest_graph import IsolationTree, forest_graph, mean_path_length
from wayside.detectors.kinds.iforest import IsolationForest
from wayside.detectors.kinds.protocol import Execution, RowDetector
from wayside.detectors.kinds.vae import VaeDetector, VaeOptions
from wayside.detectors.networks.dense import Activation, Dense, Layer
from wayside.detectors.networks.reconstruction import VariationalAutoencoder
from wayside.detectors.scoring.calibration import Calibration, feature_thresholds
from wayside.detectors.tabular.preprocessing import Preprocessing, Scaling
from wayside.detectors.tabular.schema import Schema
from wayside.detectors.tabular.table import Table

Arrays = Mapping[str, NDArray[Any]]

SAMPLES = 5  # of a row, in the notebook's VAE
ALPHA = 0.01
_CALIBRATING = 2000
_FITTED = 4000  # rows of the kinds that are timed in process


def vae_of_weights(weights: Arrays, rows: Matrix) -> VaeDetector:
    """Ours with the layers that detectors_adserver_fit.py took out of alibi-detect's."""
    hidden = _layers(weights, "encoder", Activation.RELU)
    ends = [(weights[f"{name}.kernel"], weights[f"{name}.bias"]) for name in ("mean", "log_variance")]
    kernel, bias = (np.concatenate(parts, axis=-1) for parts in zip(*ends, strict=True))
    decoder = _layers(weights, "decoder", Activation.RELU)
    last = Layer(decoder[-1].kernel, decoder[-1].bias, Activation.LINEAR)
    noise = np.random.default_rng(0).standard_normal((SAMPLES, kernel.shape[1] // 2), dtype=np.float32)
    encoder = Dense((*hidden, Layer(kernel, bias, Activation.LINEAR)))
    return VaeDetector.of_network(VariationalAutoencoder(encoder, Dense((*decoder[:-1], last)), noise), rows)


def _layers(weights: Arrays, name: str, activation: Activation) -> list[Layer]:
    count = sum(key.startswith(f"{name}.") and key.endswith(".kernel") for key in weights)
    return [Layer(weights[f"{name}.{at}.kernel"], weights[f"{name}.{at}.bias"], activation) for at in range(count)]


def vae_untrained(rows: Matrix) -> VaeDetector:
    """The same layers before training: a score takes as long whatever the weights are."""
    options = VaeOptions(samples=SAMPLES)
    return VaeDetector.of_network(options.initial(rows.shape[1], np.random.default_rng(0)), rows)


def forest_of_trees(arrays: Arrays, features: int) -> IsolationForest:
    """Ours with the trees that detectors_adserver_fit.py took out of alibi-detect's forest."""
    fields = ("children_left", "children_right", "feature", "threshold", "n_node_samples")
    ends = np.cumsum(arrays["nodes"])[:-1]
    parts = zip(*(np.split(arrays[field], ends) for field in fields), strict=True)
    trees = [IsolationTree(*tree) for tree in parts]
    expected = len(trees) * float(mean_path_length(arrays["max_samples"]))
    return IsolationForest(forest_graph(trees, features), expected, Execution())


def save_calibrated(kind: str, detector: RowDetector, rows: Matrix, folder: Path) -> Path:
    """The artifact of a detector that takes rows as they are, calibrated by the last of them; its folder."""
    schema, calibrating = Schema.of_width(rows.shape[1]), rows[-_CALIBRATING:]
    scores = Calibration.of(detector.score(calibrating), ALPHA).scores
    thresholds = None
    if detector.gives_feature_scores:
        thresholds = feature_thresholds(detector.feature_scores(calibrating), ALPHA)
    preprocessing = Preprocessing.fit(schema, rows, Scaling.NONE)
    calibration = CalibrationRows(scores, thresholds)
    save(Artifact(kind, kind, ALPHA, schema, detector.state(), preprocessing, calibration), folder / kind)
    return folder / kind


def fitted(kind: str, rows: Matrix) -> Artifact:
    """An artifact of any kind that is fitted without Keras."""
    return fit_artifact(kind, Table.of(rows[:_FITTED]), FitSettings(alpha=ALPHA)).artifact
