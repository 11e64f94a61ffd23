"""What is read of a folder that alibi-detect saved, what is refused, and that nothing runs without trust."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from wayside.detectors.alibi.launch import SavedFacts
from wayside.detectors.alibi.process import WorkerCommand
from wayside.detectors.alibi.saved import read_saved, write_saved
from wayside.detectors.kinds.alibi import AlibiDetector, AlibiOptions, noise_of, row_shape, state_of
from wayside.detectors.kinds.protocol import Execution, FitContext, State
from wayside.eventing.errors import ConfigurationError

FILES = {"meta.dill": b"m", "OutlierVAE.dill": b"o", "model/vae.ckpt.index": b"i"}
FLAT = SavedFacts("IForest", "0.13.0", (4,), None, False)
UNTOLD = SavedFacts("SpectralResidual", "0.13.0", None, None, True)
VARIATIONAL = SavedFacts("OutlierVAE", "0.13.0", (4,), (3, 2), True)


def saved_in(folder: Path) -> Path:
    folder.mkdir()
    write_saved(FILES, folder)
    return folder


def linked_file(folder: Path) -> None:
    (folder / "stolen").symlink_to("/etc/hostname")


def linked_folder(folder: Path) -> None:
    (folder / "there").symlink_to("/etc", target_is_directory=True)


def fifo(folder: Path) -> None:
    os.mkfifo(folder / "pipe")


def odd_name(folder: Path) -> None:
    (folder / "a name with spaces").write_bytes(b"")


def many(folder: Path) -> None:
    for number in range(300):
        (folder / f"{number}").write_bytes(b"")


def deep(folder: Path) -> None:
    (folder / "a/b/c/d/e").mkdir(parents=True)


def unmarked(folder: Path) -> None:
    (folder / "meta.dill").unlink()


def drift(folder: Path) -> None:
    unmarked(folder)
    (folder / "config.toml").write_bytes(b"name = 'KSDrift'")


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    assert read_saved(saved_in(tmp_path / "saved")) == FILES


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (linked_file, "stolen is no regular file"),
        (linked_folder, "there is no regular file"),
        (fifo, "pipe is no regular file"),
        (odd_name, "'a name with spaces' is no name of a file"),
        (many, "more than 256 files"),
        (deep, "lies too deep"),
        (unmarked, "no folder of alibi-detect's save_detector"),
        (drift, "holds a drift detector"),
    ],
    ids=lambda given: getattr(given, "__name__", ""),
)
def test_a_folder_that_is_refused(tmp_path: Path, spoil: Callable[[Path], None], reason: str) -> None:
    folder = saved_in(tmp_path / "saved")
    spoil(folder)
    with pytest.raises(ConfigurationError, match=reason):
        read_saved(folder)


def test_files_beyond_the_limit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="have more than"):
        read_saved(saved_in(tmp_path / "saved"), limit_bytes=2)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="No such file"):
        read_saved(tmp_path / "none")


def test_a_name_that_leads_out_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is no name of a file"):
        write_saved({"../meta.dill": b""}, tmp_path)


def test_nothing_is_loaded_without_trust(tmp_path: Path) -> None:
    python = "/there/is/no/python"  # starting it would be refused in other words
    with pytest.raises(ConfigurationError, match="--trust-pickle"):
        AlibiDetector.wrap(saved_in(tmp_path / "saved"), AlibiOptions(), Execution(alibi_python=python))
    with pytest.raises(ConfigurationError, match="--trust-pickle"):
        AlibiDetector.restore(state_of(FILES, FLAT, AlibiOptions()), Execution(alibi_python=python))


def test_an_interpreter_that_is_not_there(tmp_path: Path) -> None:
    execution = Execution(trust_pickle=True, alibi_python="/there/is/no/python")
    with pytest.raises(ConfigurationError, match="--alibi-python"):
        AlibiDetector.wrap(saved_in(tmp_path / "saved"), AlibiOptions(), execution)


def test_an_interpreter_without_alibi_detect_is_told_the_extra_and_the_licence(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"the extra 'alibi'.*Business Source License"):
        AlibiDetector.wrap(saved_in(tmp_path / "saved"), AlibiOptions(), Execution(trust_pickle=True))


def test_it_is_not_fitted() -> None:
    with pytest.raises(ConfigurationError, match="--saved"):
        AlibiDetector.fit(np.zeros((3, 4)), AlibiOptions(), FitContext())


@pytest.mark.parametrize("shape", ["0", "3x3", "-1", "4-", "1-1-1-1-1", "12345678"])
def test_a_shape_that_is_refused(shape: str) -> None:
    with pytest.raises(ConfigurationError, match="shape is"):
        AlibiOptions(shape=shape)


@pytest.mark.parametrize(
    ("facts", "shape", "expected"),
    [(FLAT, "", (4,)), (FLAT, "4", (4,)), (UNTOLD, "24", (24,)), (VARIATIONAL, "", (4,))],
    ids=["told", "both", "given", "variational"],
)
def test_what_is_kept(facts: SavedFacts, shape: str, expected: tuple[int, ...]) -> None:
    state = state_of(FILES, facts, AlibiOptions(shape=shape, seed=7))
    assert row_shape(state) == expected
    assert noise_of(state).shape == (facts.noise_shape or (0, 0))
    detector = AlibiDetector.restore(state, Execution(trust_pickle=True))
    assert (detector.features, detector.gives_feature_scores) == (int(np.prod(expected)), facts.by_feature)
    assert detector.state() is state


@pytest.mark.parametrize(
    ("facts", "shape", "reason"),
    [(UNTOLD, "", "--set shape="), (FLAT, "2-2", "takes rows of 4")],
    ids=["unknown", "another"],
)
def test_a_shape_that_does_not_fit(facts: SavedFacts, shape: str, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        state_of(FILES, facts, AlibiOptions(shape=shape))


@pytest.mark.parametrize(
    "arrays",
    [
        {},
        {"shape": np.array([[4]])},
        {"shape": np.array([0])},
        {"shape": np.array([4]), "noise": np.zeros(3), "by_feature": np.array([True])},
        {"shape": np.array([4]), "noise": np.full((1, 1), np.nan), "by_feature": np.array([True])},
    ],
    ids=["empty", "two-axes", "zero", "flat-noise", "noise-of-nan"],
)
def test_a_state_that_is_none(arrays: dict[str, np.ndarray]) -> None:
    with pytest.raises((KeyError, ValueError)):
        AlibiDetector.restore(State(arrays, FILES), Execution(trust_pickle=True))


def test_no_secret_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    environment = WorkerCommand("python").environment()
    assert environment["CUDA_VISIBLE_DEVICES"] == "-1"
    assert not {"AWS_SECRET_ACCESS_KEY", "PYTHONPATH"} & set(environment)
