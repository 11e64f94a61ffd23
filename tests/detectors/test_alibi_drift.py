"""alibi-detect's own saved drift detectors, through the kind `alibi-drift`, tell what alibi-detect tells.

oracles/save_alibi_drift.py makes the detectors and says what they tell of a window.
"""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wayside.detectors.alibi.drift_launch import load_drift, prepared
from wayside.detectors.alibi.process import WorkerCommand, WorkerProcess
from wayside.detectors.alibi.saved import read_saved
from wayside.detectors.artifacts.folder import load_folder, save
from wayside.detectors.drift.settings import WindowSettings
from wayside.detectors.fitting.fit import FitSettings, fit_artifact
from wayside.detectors.fitting.window_plan import WindowPlan
from wayside.detectors.kinds.alibi import row_shape
from wayside.detectors.kinds.alibi_drift import AlibiDriftDetector, AlibiDriftOptions, state_of
from wayside.detectors.kinds.protocol import Array, Execution, Sample, State, WindowFitContext
from wayside.detectors.scoring.judge import restore_window_detector
from wayside.detectors.tabular.table import Table
from wayside.eventing.errors import ConfigurationError

pytestmark = pytest.mark.alibi

ROOT = Path(__file__).parents[2]
SCRIPT = Path(__file__).parent / "oracles" / "save_alibi_drift.py"
START_S = 300.0
PERMUTATIONS = {"mmd": 50, "mmd-encoded": 20, "lsdd": 50, "context-mmd": 20, "learned-kernel": 20}
BY_FEATURE = ("ks", "ks-updated", "cvm", "fet", "chi-square", "tabular")
WHOLE = ("classifier", "spot-the-diff", "classifier-uncertainty", "regressor-uncertainty", *PERMUTATIONS)
ONLINE = ("mmd-online", "lsdd-online", "cvm-online", "fet-online")


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

    def open(self, folder: Path, **options: str) -> AlibiDriftDetector:
        files = read_saved(folder, is_drift=True)
        facts = load_drift(self.process, files, self.command, START_S)
        state = state_of(files, facts, AlibiDriftOptions(**options))
        prepared(self.process, row_shape(state), START_S)
        return AlibiDriftDetector(state, self)

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
    """Folders of saved detectors, and beside each NAME what it tells in NAME.npz. Made while the worker starts."""
    folder = tmp_path_factory.mktemp("saved-drift")
    done = subprocess.run([python, "-I", SCRIPT, folder], capture_output=True, text=True, check=False, timeout=START_S)
    assert done.returncode == 0, done.stderr[-4000:]
    return folder


def opened(worker: OneWorker, saved: Path, name: str) -> tuple[AlibiDriftDetector, Sample, dict[str, Array]]:
    own = dict(np.load(saved / f"{name}.npz"))
    rows = np.hstack([own["rows"], own["context"]]) if "context" in own else own["rows"]
    shape = {"shape": str(own["rows"].shape[1])}
    detector = worker.open(saved / name, **shape, **({"context": "3"} if "context" in own else {}))
    return detector, Sample.untimed(rows), own


@pytest.mark.parametrize("name", [*BY_FEATURE, *WHOLE])
def test_a_window_is_told_what_alibi_detect_tells(worker: OneWorker, saved: Path, name: str) -> None:
    detector, window, own = opened(worker, saved, name)
    told, again = detector.test(window), detector.test(window)
    p_values, n = own["p_values"], PERMUTATIONS.get(name, 0)
    if n:
        p_values = (p_values * n + 1) / (n + 1)
    assert told.p_value == pytest.approx(min(1.0, len(p_values) * p_values.min()), rel=1e-4)
    assert told.statistic == pytest.approx(own["statistics"][p_values.argmin()], rel=1e-3, abs=1e-5)
    assert told.least_p_value == (pytest.approx(1 / (n + 1)) if n else 0.0)
    assert len(told.feature_p_value) == (len(p_values) if name in BY_FEATURE else 0)
    np.testing.assert_allclose(told.feature_distance, own["statistics"] if name in BY_FEATURE else [], rtol=1e-4)
    assert (told.statistic, told.p_value) == (again.statistic, again.p_value)


@pytest.mark.parametrize("name", ONLINE)
def test_an_online_detector_alarms_within_a_window_as_alibi_detect_does(
    worker: OneWorker, saved: Path, name: str
) -> None:
    detector, window, own = opened(worker, saved, name)
    told = detector.test(window)
    chance = 1 - (1 - 1 / 40) ** len(window)
    assert told.p_value == pytest.approx(chance if own["p_values"][0] else 1.0)
    assert told.statistic == pytest.approx(own["statistics"][0], rel=1e-3, abs=1e-5)
    assert told.least_p_value == pytest.approx(chance)
    assert detector.test(window).statistic == told.statistic  # it begins anew


def test_the_hour_is_a_context(worker: OneWorker, saved: Path) -> None:
    own = dict(np.load(saved / "context-mmd.npz"))
    by_hour = worker.open(saved / "context-mmd", context="hour")
    told = by_hour.test(Sample(own["rows"], own["context"][:, 0] * 3600.0 + 86400.0))
    columns = worker.open(saved / "context-mmd", context="3")
    assert told.p_value == columns.test(Sample.untimed(np.hstack([own["rows"], own["context"]]))).p_value
    with pytest.raises(ValueError, match="rows have no times"):
        by_hour.test(Sample.untimed(own["rows"]))


def test_a_detector_that_is_told_no_context_or_needs_one_is_refused(worker: OneWorker, saved: Path) -> None:
    with pytest.raises(ConfigurationError, match="is told no context"):
        worker.open(saved / "ks", context="hour")
    with pytest.raises(ConfigurationError, match="is told a context"):
        worker.open(saved / "context-mmd", shape="3")


@pytest.mark.parametrize(
    ("name", "rows", "level", "reason"),
    [
        ("mmd", 30, 0.01, "50 permutations cannot resolve a level of 0.01: save it with n_permutations=100 or more"),
        ("cvm-online", 30, 0.01, "it alarms once in 40 rows, too often .* save it with ert=2985 or more"),
    ],
    ids=["permutations", "run length"],
)
def test_a_level_that_it_cannot_resolve_is_refused(
    worker: OneWorker, saved: Path, name: str, rows: int, level: float, reason: str
) -> None:
    detector, window, _ = opened(worker, saved, name)
    with pytest.raises(ConfigurationError, match=reason):
        detector.checked(window, WindowFitContext(window_rows=rows, level=level))
    assert detector.checked(window, WindowFitContext(window_rows=2, level=0.06)) is detector


def test_a_window_that_it_cannot_test_is_told(worker: OneWorker, saved: Path) -> None:
    detector, window, _ = opened(worker, saved, "context-mmd")
    with pytest.raises(ValueError, match="the saved detector cannot test this window"):
        detector.test(window.take(slice(2)))  # it holds a quarter of the rows out: none of two
    assert detector.test(window).p_value > 0


def test_a_window_is_told_the_same_whatever_was_tested_before(worker: OneWorker, saved: Path) -> None:
    detector, window, _ = opened(worker, saved, "context-mmd")
    told = detector.test(window)
    detector.test(Sample.untimed(window.rows * 3.0 - 1.0))
    again = detector.test(window)
    assert (told.statistic, told.p_value) == (again.statistic, again.p_value)


def test_a_saved_detector_becomes_an_artifact(python: str, worker: OneWorker, saved: Path, tmp_path: Path) -> None:
    trusted = Execution(trust_pickle=True, alibi_python=python)
    plan = WindowPlan(WindowSettings.of_rows(30, 0.05))
    settings = FitSettings(name="drift", windows=plan, saved=saved / "ks", execution=trusted)
    rows = np.random.default_rng(3).normal(size=(90, 3))
    report = fit_artifact("alibi-drift", Table.of(rows), settings)
    assert report.windows is not None
    assert "p-values are alibi-detect's" in report.windows.described[0]
    save(report.artifact, tmp_path / "drift")
    loaded = load_folder(tmp_path / "drift")
    with pytest.raises(ConfigurationError, match="--trust-pickle"):
        restore_window_detector(loaded)
    restored, windowed = restore_window_detector(loaded, trusted)  # its worker starts when it tests
    assert isinstance(restored, AlibiDriftDetector)
    assert windowed.transform.name == "columns"
    restored.close()
    load_drift(worker.process, loaded.state.files, worker.command, START_S)
    prepared(worker.process, row_shape(loaded.state), START_S)
    own = np.load(saved / "ks.npz")
    told = AlibiDriftDetector(loaded.state, worker).test(Sample.untimed(own["rows"]))
    np.testing.assert_allclose(told.feature_p_value, own["p_values"], rtol=1e-6)


def test_what_is_no_drift_detector_is_refused(tmp_path: Path) -> None:
    (tmp_path / "meta.dill").write_bytes(b"")
    with pytest.raises(ConfigurationError, match="wrap it as kind alibi"):
        read_saved(tmp_path, is_drift=True)
    with pytest.raises(ConfigurationError, match="--trust-pickle"):
        AlibiDriftDetector.restore(State({}), Execution())
