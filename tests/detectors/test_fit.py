"""`wayside fit`: files of rows, what it prints, and what it refuses."""

from pathlib import Path

import numpy as np
import pytest

from wayside.detectors.artifact import load_artifact
from wayside.detectors.fit import FitSettings, fit_artifact
from wayside.detectors.fit_cli import main
from wayside.detectors.rows_file import read_rows
from wayside.eventing.errors import ConfigurationError

from .conftest import normal_rows


def fit(*arguments: str) -> int:
    return main(arguments, {})


@pytest.mark.parametrize("kind", ["knn", "mahalanobis"])
def test_row_detectors_print_what_they_promise(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "rows.npy", normal_rows(2000, 20).reshape(2000, 2, 2))
    assert fit(kind, "--data", str(tmp_path / "rows.npy"), "--out", str(tmp_path / "out")) == 0
    printed = capsys.readouterr().out
    assert "1.000% of rows; these calibration rows promise 0.544% to 1.565% (90 % interval)" in printed
    artifact = load_artifact(tmp_path / "out")
    assert (artifact.kind, artifact.name, artifact.features, artifact.window) == (kind, "outlier", 4, None)


def test_ks_prints_its_level(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez(tmp_path / "rows.npz", x=normal_rows(300, 21), y=np.zeros(300))
    arguments = ("--data", f"{tmp_path}/rows.npz:x", "--out", f"{tmp_path}/out", "--window", "50", "--alpha", "0.05")
    assert fit("ks", *arguments) == 0
    printed = capsys.readouterr().out
    assert "4 features" in printed
    assert "reference of 300 rows, which is 6.0 windows of 50 rows" in printed
    assert "5.000% of windows" in printed
    assert "give 10 windows of rows or more" in printed
    artifact = load_artifact(tmp_path / "out")
    assert (artifact.name, artifact.window) == ("drift", 50)


def test_too_few_rows_name_the_rows_needed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "rows.npy", normal_rows(1996, 22))
    assert fit("knn", "--data", str(tmp_path / "rows.npy"), "--out", str(tmp_path / "out")) == 2
    error = capsys.readouterr().err
    assert "998 calibration rows are too few for alpha = 0.01: 999 are needed, which is 1998 rows in all" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.csv", b"", "no rows"),
        ("a.csv", b"x,y\n", "no rows"),
        ("a.csv", b"x,y\n1,2\n3\n", "line 3: 1 columns where the others have 2"),
        ("a.csv", b"1,2\n3,four\n", "line 2"),
        ("a.csv", b"1,2\n3,nan\n", "row 2"),
        ("a.csv", b"1,\xff\n", "cannot read"),
        ("a.csv", b"1\n2\n3\n", "too few"),
        ("a.npy", b"not an array", "cannot read"),
        ("a.npy", b"", "cannot read"),
        ("a.npz", b"", "cannot read"),
        ("a.parquet", b"", "no .npy, .npz or .csv"),
    ],
)
def test_bad_files_end_in_one_line(
    name: str, content: bytes, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_bytes(content)
    assert fit("mahalanobis", "--data", str(tmp_path / name), "--out", str(tmp_path / "out")) == 2
    error = capsys.readouterr().err
    assert reason in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.zeros(5), "shape"),
        (np.zeros((0, 3)), "shape"),
        (np.zeros((5, 0)), "shape"),
        (np.array([["a", "b"]]), "not numbers"),
        (np.full((3000, 2), 1e300) * np.arange(3000)[:, None], "too large"),
    ],
)
def test_bad_arrays_end_in_one_line(
    array: np.ndarray, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "a.npy", array)
    assert fit("knn", "--data", str(tmp_path / "a.npy"), "--out", str(tmp_path / "out")) == 2
    assert reason in capsys.readouterr().err


def test_pickled_rows_are_not_loaded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "a.npy", np.array([print], dtype=object), allow_pickle=True)
    assert fit("knn", "--data", str(tmp_path / "a.npy"), "--out", str(tmp_path / "out")) == 2
    assert "pickle" in capsys.readouterr().err.lower()


@pytest.mark.parametrize(
    "flags", [("--alpha", "0"), ("--alpha", "1"), ("--holdout", "1"), ("--k", "0"), ("--name", "A b"), ("--what", "1")]
)
def test_bad_flags_end_in_one_line(flags: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert fit("knn", "--data", "x.npy", "--out", str(tmp_path), *flags) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_header_and_a_byte_order_mark_are_read_over(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"\xef\xbb\xbfx,y\r\n1,2\r\n\r\n3,4e2\r\n")
    assert read_rows(str(tmp_path / "a.csv")).tolist() == [[1, 2], [3, 400]]


def test_an_archive_of_several_arrays_wants_a_name(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=normal_rows(3, 1), y=normal_rows(4, 1))
    with pytest.raises(ConfigurationError, match="holds x, y: name one"):
        read_rows(str(tmp_path / "a.npz"))
    assert read_rows(f"{tmp_path}/a.npz:y").shape == (4, 4)


def test_no_row_is_both_fitted_and_calibrated() -> None:
    rows = normal_rows(2000, 23)
    report = fit_artifact("knn", rows, FitSettings(k=1, holdout=0.6))
    assert (report.fitted_rows, report.calibration_rows) == (800, 1200)
    assert (report.artifact.arrays["calibration"] > 0).all()  # a fitted row would be its own neighbour


def test_progress_is_told_to_the_end() -> None:
    told: list[tuple[int, int]] = []
    fit_artifact("mahalanobis", normal_rows(4000, 24), FitSettings(), lambda done, total: told.append((done, total)))
    assert told == [(1024, 2000), (2000, 2000)]
