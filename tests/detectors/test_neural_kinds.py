"""Autoencoder and VAE as detectors: fitted by Keras in its own environment, kept, restored and scored without it."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wayside.detectors.artifacts.artifact import Artifact, CalibrationRows
from wayside.detectors.artifacts.folder import load_folder, save
from wayside.detectors.kinds.autoencoder import AutoencoderDetector, AutoencoderOptions
from wayside.detectors.kinds.protocol import Device, Execution, FitContext, State
from wayside.detectors.kinds.vae import VaeDetector, VaeOptions
from wayside.detectors.networks.detector import ReconstructionDetector
from wayside.detectors.networks.session import has_cuda
from wayside.detectors.scoring.calibration import quantise
from wayside.detectors.scoring.judge import RowJudge
from wayside.detectors.tabular.preprocessing import Preprocessing
from wayside.detectors.tabular.schema import Schema
from wayside.eventing.errors import ConfigurationError, MissingExtra

from .keras_processes import run_python

HERE = Path(__file__).parent
WIDTH = 5
KINDS = {"autoencoder": (AutoencoderDetector, AutoencoderOptions), "vae": (VaeDetector, VaeOptions)}


def rows(count: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, WIDTH))


def untrained(kind: str, seed: int = 0) -> ReconstructionDetector:
    """A detector with the weights that training would start from: as good as any to be kept and scored."""
    detector, options = KINDS[kind]
    return detector.of_network(options(hidden="8-6").initial(WIDTH, np.random.default_rng(seed)), rows(50))


def artifact(kind: str) -> Artifact:
    detector, schema, reference = untrained(kind), Schema.of_width(WIDTH), rows(400, seed=2)
    preprocessing = Preprocessing.fit(schema, reference)
    scores = np.sort(quantise(detector.score(preprocessing.apply(reference))))
    return Artifact(kind, "net", 0.05, schema, detector.state(), preprocessing, CalibrationRows(scores))


@pytest.mark.parametrize("kind", KINDS)
def test_an_artifact_on_disk_scores_the_same_bits(kind: str, tmp_path: Path) -> None:
    kept = artifact(kind)
    save(kept, tmp_path / kind)
    loaded = load_folder(tmp_path / kind)
    assert loaded.digest == kept.digest
    assert np.array_equal(RowJudge.of(loaded).score(rows(33)), RowJudge.of(kept).score(rows(33)))


def test_scoring_imports_nothing_that_only_fitting_needs(tmp_path: Path) -> None:
    save(artifact("vae"), tmp_path / "vae")
    code = (
        "import sys; from pathlib import Path; from wayside.detectors.artifacts.folder import load_folder;"
        "from wayside.detectors.scoring.judge import RowJudge;"
        f"RowJudge.of(load_folder(Path({str(tmp_path / 'vae')!r})));"
        "print([each for each in ('onnx', 'sklearn', 'scipy', 'keras', 'tensorflow') if each in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("kind", KINDS)
def test_feature_scores_of_mean_squared_errors_add_up_to_the_score(kind: str) -> None:
    detector = untrained(kind)
    assert detector.features == WIDTH
    assert detector.feature_scores(rows(20)).mean(axis=1) == pytest.approx(detector.score(rows(20)), rel=1e-5)


def test_the_noise_of_a_vae_comes_from_the_seed() -> None:
    noises = [untrained("vae", seed).state().arrays["noise"] for seed in (1, 1, 2)]
    assert np.array_equal(noises[0], noises[1])
    assert not np.array_equal(noises[0], noises[2])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "files",
    [{}, {"score.onnx": b""}, {"score.onnx": b"\x00" * 100}, {"other.onnx": b""}],
    ids=["none", "empty", "zeros", "another name"],
)
def test_a_broken_graph_is_refused_with_what_to_do(kind: str, files: dict[str, bytes]) -> None:
    kept = artifact(kind)
    with pytest.raises(ConfigurationError, match="fit it again"):
        RowJudge.of(replace(kept, state=State(kept.state.arrays, files)))


def test_a_graph_that_gives_nan_flags_every_row() -> None:
    options = AutoencoderOptions(hidden="4")
    network = options.initial(WIDTH, np.random.default_rng(0))
    network = network.with_weights([each * np.nan for each in network.weights])
    broken = AutoencoderDetector.of_network(network, rows(5))
    judge = RowJudge.of(replace(artifact("autoencoder"), state=broken.state()))
    verdict = judge.verdict(judge.score(rows(3)))
    assert verdict.scores == [None] * 3
    assert verdict.decisions == [True] * 3


@pytest.mark.parametrize("kind", KINDS)
def test_a_gpu_that_is_not_there_is_a_configuration_error(kind: str) -> None:
    if has_cuda():
        pytest.skip("onnxruntime has CUDA here")
    with pytest.raises(ConfigurationError, match="no GPU here"):
        RowJudge.of(artifact(kind), Execution(Device.GPU))


@pytest.mark.parametrize(
    ("kind", "options", "says"),
    [
        ("autoencoder", {"hidden": "64-x"}, "hidden"),
        ("autoencoder", {"hidden": ""}, "hidden"),
        ("autoencoder", {"hidden": "64-0"}, "hidden"),
        ("autoencoder", {"hidden": "5000"}, "hidden"),
        ("autoencoder", {"latent": 0}, "latent"),
        ("autoencoder", {"activation": "softmax"}, "activation"),
        ("autoencoder", {"epochs": 0}, "epochs"),
        ("autoencoder", {"batch_size": 0}, "batch_size"),
        ("autoencoder", {"learning_rate": 0.0}, "learning_rate"),
        ("autoencoder", {"learning_rate": float("nan")}, "learning_rate"),
        ("autoencoder", {"patience": 0}, "patience"),
        ("vae", {"samples": 0}, "samples"),
        ("vae", {"deviation": 0.0}, "deviation"),
        ("vae", {"beta": -1.0}, "beta"),
        ("vae", {"limit": 0.0}, "limit"),
        ("autoencoder", {"limit": float("nan")}, "limit"),
    ],
    ids=lambda value: "-".join(map(str, value.items())) if isinstance(value, dict) else None,
)
def test_options_out_of_range_are_refused(kind: str, options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        KINDS[kind][1](**options)


def test_fitting_without_keras_names_the_extras() -> None:
    pytest.importorskip("onnx")
    with pytest.raises(MissingExtra, match=r"jax.*torch.*wayside\[tensorflow\]"):
        VaeDetector.fit(rows(50), VaeOptions(), FitContext())


def test_too_few_rows_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="at least 20 rows"):
        VaeDetector.fit(rows(19), VaeOptions(), FitContext())


# With Keras


@pytest.fixture(scope="module")
def fits(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """What the script in .venvs/keras fitted and told."""
    folder = tmp_path_factory.mktemp("fits")
    told: dict[str, Any] = json.loads(run_python("keras", HERE / "keras_fits.py", folder).splitlines()[-1])
    return folder, told


@pytest.mark.keras
@pytest.mark.parametrize("kind", KINDS)
def test_equal_fits_have_one_digest(kind: str, fits: tuple[Path, dict[str, Any]]) -> None:
    first, again, other_seed = fits[1][kind]["digests"]
    assert first == again != other_seed


@pytest.mark.keras
@pytest.mark.parametrize("kind", KINDS)
def test_each_epoch_is_told(kind: str, fits: tuple[Path, dict[str, Any]]) -> None:
    training = fits[1][kind]["training"]
    assert training == [[epoch, 4] for epoch in range(1, len(training) + 1)]
    assert training


@pytest.mark.keras
@pytest.mark.parametrize("kind", KINDS)
def test_keras_and_onnxruntime_agree(kind: str, fits: tuple[Path, dict[str, Any]]) -> None:
    assert fits[1][kind]["difference"] < 1e-5


@pytest.mark.keras
@pytest.mark.parametrize("kind", KINDS)
def test_what_keras_fitted_is_scored_without_it(kind: str, fits: tuple[Path, dict[str, Any]]) -> None:
    folder, told = fits
    loaded = load_folder(folder / kind)
    assert loaded.digest == told[kind]["digests"][0]
    judge = RowJudge.of(loaded)
    ordinary = np.random.default_rng(0)
    latent, mixing = ordinary.normal(size=(600, 2)), ordinary.normal(size=(2, 5))
    far = judge.score(10 * rows(200))
    assert np.median(far) > np.median(judge.score(latent @ mixing))


@pytest.mark.keras
def test_keras_without_a_gpu_says_so(fits: tuple[Path, dict[str, Any]]) -> None:
    assert fits[1]["gpu"].startswith("no GPU here")
    assert "Keras sees none" in fits[1]["gpu"]


# Against alibi-detect


NATIVE_ROWS = rows(200).astype(np.float32).astype(np.float64)


@pytest.fixture(scope="module")
def natives(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, ReconstructionDetector]]:
    """Our detectors, and the folder where alibi-detect told its scores with their weights and noise."""
    folder, natives = tmp_path_factory.mktemp("alibi"), {}
    for kind, (detector, options) in KINDS.items():
        random = np.random.default_rng(3)
        network = options(activation="relu", limit=np.inf).initial(WIDTH, random)
        network = network.with_weights([each + random.normal(0, 0.05, each.shape) for each in network.weights])
        natives[kind] = detector.of_network(network, NATIVE_ROWS)
        weights = {name: array for name, array in network.arrays().items() if "activations" not in name}
        np.savez(folder / f"{kind}.npz", rows=NATIVE_ROWS.astype(np.float32), **weights)
    run_python("alibi", HERE / "oracles" / "alibi_reconstruction.py", folder, *KINDS)
    return folder, natives


@pytest.mark.alibi
@pytest.mark.parametrize("kind", KINDS)
def test_scores_are_those_of_alibi_detect_on_equal_weights_and_noise(
    kind: str, natives: tuple[Path, dict[str, ReconstructionDetector]]
) -> None:
    native = natives[1][kind]
    with np.load(natives[0] / f"{kind}-told.npz") as told:
        assert native.score(NATIVE_ROWS) == pytest.approx(told["rows"], rel=1e-5)
        assert native.feature_scores(NATIVE_ROWS) == pytest.approx(told["features"], rel=1e-4, abs=1e-5)
