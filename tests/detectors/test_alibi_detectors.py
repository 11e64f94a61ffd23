"""alibi-detect's own saved detectors, loaded through the kind `alibi`, score as alibi-detect scores them; the native
isolation forest does on the same trees. oracles/save_alibi.py makes the detectors and says what they score."""

import math
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wayside.detectors.alibi.launch import Launch, load
from wayside.detectors.alibi.process import WorkerCommand, WorkerProcess
from wayside.detectors.alibi.saved import read_saved
from wayside.detectors.artifacts.folder import load_folder, save
from wayside.detectors.fitting.fit import FitSettings, fit_artifact
from wayside.detectors.kinds.alibi import AlibiDetector, AlibiOptions, noise_of, row_shape, state_of
from wayside.detectors.kinds.forest_graph import IsolationTree, forest_graph, mean_path_length
from wayside.detectors.kinds.iforest import IsolationForest
from wayside.detectors.kinds.protocol import Array, Execution
from wayside.detectors.scoring.judge import RowJudge
from wayside.detectors.tabular.table import Table
from wayside.eventing.errors import ConfigurationError

pytestmark = pytest.mark.alibi

ROOT = Path(__file__).parents[2]
SCRIPT = Path(__file__).parent / "oracles" / "save_alibi.py"
START_S = 300.0
KINDS = (
    *("iforest", "mahalanobis", "residual", "ae", "vae", "aegmm", "vaegmm", "image-ae", "seq2seq", "llr"),
    *("adversarial-ae", "distillation"),
)
NETWORK_TOLERANCE = 1e-5  # float32, in blocks of another shape than alibi-detect's own


@pytest.fixture(scope="module")
def python() -> str:
    path = ROOT / ".venvs" / "alibi" / "bin" / "python"
    if not path.exists():
        missing = pytest.fail if os.environ.get("WAYSIDE_TEST_REQUIRE_ALIBI") == "1" else pytest.skip
        missing("no .venvs/alibi: run scripts/setup --with-alibi")
    return str(path)


class OneWorker:
    """One worker for detector after detector: importing TensorFlow takes most of a start."""

    def __init__(self, python: str) -> None:
        self.command = WorkerCommand(python)
        self.process = WorkerProcess.start(self.command)

    def open(self, folder: Path, shape: str = "") -> AlibiDetector:
        files = read_saved(folder)
        facts = load(self.process, files, self.command, START_S)
        state = state_of(files, facts, AlibiOptions(shape=shape))
        Launch(self.command, files, row_shape(state), noise_of(state), START_S).prepared(self.process)
        return AlibiDetector(state, self)

    def ask(self, head: dict[str, Any], arrays: list[Array]) -> tuple[dict[str, Any], list[Array]]:
        return self.process.ask(head, arrays, 60.0)

    def warm(self) -> None: ...

    def close(self) -> None: ...


@pytest.fixture(scope="module")
def worker(python: str) -> Iterator[OneWorker]:
    one = OneWorker(python)
    yield one
    assert one.process.close() == 0


@pytest.fixture(scope="module")
def saved(python: str, worker: OneWorker, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of saved detectors, and beside each NAME the scores in NAME.npz. Made while the worker starts."""
    folder = tmp_path_factory.mktemp("saved")
    done = subprocess.run([python, "-I", SCRIPT, folder], capture_output=True, text=True, check=False, timeout=START_S)
    assert done.returncode == 0, done.stderr[-4000:]
    return folder


@pytest.mark.parametrize("name", KINDS)
def test_scores_are_alibi_detects_own(worker: OneWorker, saved: Path, name: str) -> None:
    detector = worker.open(saved / name, shape="24" if name == "residual" else "")
    own = np.load(saved / f"{name}.npz")
    scores = detector.score(own["rows"])
    np.testing.assert_allclose(scores, own["scores"], rtol=NETWORK_TOLERANCE, atol=1e-7)
    assert detector.gives_feature_scores == ("by_feature" in own)
    if detector.gives_feature_scores:
        by_feature = detector.feature_scores(own["rows"])[:, -own["by_feature"].shape[1] :]
        np.testing.assert_allclose(by_feature, own["by_feature"], rtol=NETWORK_TOLERANCE, atol=1e-6)


@pytest.mark.parametrize("name", [*KINDS, "drawing"])
def test_a_row_scores_the_same_bits_in_whatever_batch(worker: OneWorker, saved: Path, name: str) -> None:
    detector = worker.open(saved / name, shape="24" if name == "residual" else "")
    rows = np.load(saved / f"{name}.npz")["rows"][:18].astype(np.float64)
    scores = detector.score(rows)
    assert len(np.unique(scores)) > 1
    assert np.array_equal(detector.score(rows[::-1])[::-1], scores)
    assert [detector.score(rows[at : at + 1])[0] for at in range(3)] == scores[:3].tolist()


def test_rows_beyond_one_block_score_the_same(worker: OneWorker, saved: Path) -> None:
    detector = worker.open(saved / "vae")
    rows = np.tile(np.load(saved / "vae.npz")["rows"].astype(np.float64), (60, 1))
    assert np.array_equal(detector.score(rows).reshape(60, -1), np.tile(detector.score(rows[:37]), (60, 1)))


def test_a_network_that_gives_nan_is_not_hidden(worker: OneWorker, saved: Path) -> None:
    assert np.isnan(worker.open(saved / "broken").score(np.zeros((3, 4)))).all()


@pytest.mark.parametrize(
    ("name", "reason"),
    [("unlearned", "has seen no rows"), ("drift", "holds a drift detector"), ("residual", "--set shape=")],
)
def test_a_detector_that_is_refused(worker: OneWorker, saved: Path, name: str, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        worker.open(saved / name)


def test_a_damaged_detector_is_refused(worker: OneWorker, saved: Path, tmp_path: Path) -> None:
    for name in ("meta.dill", "OutlierVAE.dill"):
        (tmp_path / name).write_bytes((saved / "vae" / name).read_bytes()[:-9])
    with pytest.raises(ConfigurationError, match="cannot load the saved detector"):
        worker.open(tmp_path)


def test_the_noise_of_a_variational_detector_is_fixed_and_stays_flat(worker: OneWorker, saved: Path) -> None:
    """alibi-detect draws a fresh seed a call, and leaks some 36 KiB with it."""
    detector = worker.open(saved / "vae")
    row = np.zeros((1, 4))
    first = detector.score(row)
    before = worker.process.resident_bytes
    assert all(np.array_equal(detector.score(row), first) for _ in range(100))
    assert worker.process.resident_bytes - before < 100 * 4096


def test_a_wrapped_detector_is_an_artifact_that_serves(python: str, saved: Path, tmp_path: Path) -> None:
    """From the folder of `save_detector` to verdicts, each time with a worker of its own."""
    execution = Execution(trust_pickle=True, alibi_python=python)
    table = Table.of(np.random.default_rng(5).normal(size=(1100, 4)).astype(np.float32).astype(np.float64))
    settings = FitSettings(saved=saved / "vae", execution=execution)
    save(fit_artifact("alibi", table, settings).artifact, tmp_path / "artifact")
    judge = RowJudge.of(load_folder(tmp_path / "artifact"), execution)
    own = np.load(saved / "vae.npz")
    scores = judge.score(own["rows"])
    np.testing.assert_allclose(scores, own["scores"], rtol=NETWORK_TOLERANCE)
    assert judge.verdict(scores).decisions == (scores > judge.threshold).tolist()
    assert judge.feature_scores(own["rows"]).shape == (len(scores), 4)


def test_the_native_forest_agrees_on_the_same_trees(saved: Path) -> None:
    """alibi-detect's score is the native one less a constant, scikit-learn's `offset_`."""
    kept, own = np.load(saved / "iforest-trees.npz"), np.load(saved / "iforest.npz")
    trees = []
    for number in range(sum(name.endswith(".feature") for name in kept)):
        names = ("children_left", "children_right", "feature", "threshold", "n_node_samples")
        trees.append(IsolationTree(*(kept[f"{number}.{name}"] for name in names)))
    expected = len(trees) * float(mean_path_length(kept["sample_size"]))
    native = IsolationForest(forest_graph(trees, own["rows"].shape[1]), expected, Execution())
    offset = float(kept["offset"])
    assert math.isclose(offset, -0.5)
    np.testing.assert_allclose(native.score(own["rows"]) + offset, own["scores"], atol=1e-4)
    np.testing.assert_allclose(native.score(own["rows"]) + offset, own["scores"], atol=2e-6)
