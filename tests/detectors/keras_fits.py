"""Run by .venvs/keras: fits the neural kinds on a little data, saves the artifacts, and scores with Keras as well.

Usage: keras_fits.py FOLDER. Prints one JSON object: the digests of equal fits, what progress was told, how far Keras
and onnxruntime differ at most (relative), and what a GPU that is not there is answered.
"""

import json
import sys
from pathlib import Path

import numpy as np

from wayside.detectors.artifacts.artifact import Artifact
from wayside.detectors.artifacts.folder import save
from wayside.detectors.fitting.fit import FitSettings, fit_artifact
from wayside.detectors.kinds.protocol import Device, Execution, State
from wayside.detectors.kinds.registry import row_detector
from wayside.detectors.networks.devices import check_device
from wayside.detectors.networks.graph import FEATURE_SCORES
from wayside.detectors.networks.keras_executor import KerasExecutor
from wayside.detectors.networks.reconstruction import Autoencoder, VariationalAutoencoder
from wayside.detectors.tabular.table import Table
from wayside.eventing.errors import ConfigurationError

NETWORKS = {"autoencoder": Autoencoder, "vae": VariationalAutoencoder}
OPTIONS = {"hidden": "8", "latent": 2, "epochs": 4, "patience": 2, "batch_size": 32}


def table() -> Table:
    random = np.random.default_rng(0)
    return Table.of(random.normal(size=(600, 2)) @ random.normal(size=(2, 5)))


def fit(kind: str, told: list[tuple[str, int, int]], seed: int = 0) -> Artifact:
    settings = FitSettings(alpha=0.1, seed=seed, options=OPTIONS)
    return fit_artifact(kind, table(), settings, lambda *each: told.append(each)).artifact


def difference(kind: str, state: State) -> float:
    """Between Keras and onnxruntime on the same weights, the largest relative one."""
    graph = row_detector(kind).restore(state, Execution())
    executor = KerasExecutor(NETWORKS[kind].of_arrays(state.arrays))
    rows = np.random.default_rng(1).normal(size=(70, 5))
    scores = np.abs(executor.run(rows) / graph.score(rows) - 1).max()
    features = np.abs(executor.run(rows, FEATURE_SCORES) - graph.feature_scores(rows)).max()
    return float(max(scores, features))


def refusal() -> str:
    try:
        return check_device(Device.GPU)
    except ConfigurationError as exc:
        return str(exc)


def main(folder: Path) -> None:
    seen = {}
    for kind in NETWORKS:
        told: list[tuple[str, int, int]] = []
        artifact = fit(kind, told)
        save(artifact, folder / kind)
        seen[kind] = {
            "digests": [artifact.digest, fit(kind, []).digest, fit(kind, [], seed=1).digest],
            "training": [each[1:] for each in told if each[0] == "training"],
            "difference": difference(kind, artifact.state),
        }
    print(json.dumps({**seen, "gpu": refusal()}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
