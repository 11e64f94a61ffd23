"""Rows that come again: counted exactly, told with what they do to the promise, and never read twice from one file."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wayside.detectors.artifacts.folder import load_folder
from wayside.detectors.fitting.cli import main
from wayside.detectors.fitting.fit import FitSettings, fit_artifact
from wayside.detectors.fitting.repeats import count_repeats, words_of
from wayside.detectors.fitting.report.document import report_document
from wayside.detectors.tabular.table import Table

from .conftest import normal_rows

NAN = float("nan")
VALUES = st.sampled_from([0.0, -0.0, 1.0, 2.0, 0.5, 1e300, NAN])
ROWS = st.lists(st.tuples(VALUES, VALUES), max_size=12)


def plain(row: tuple[float, ...]) -> tuple[float | None, ...]:
    return tuple(None if value != value else value + 0.0 for value in row)


def matrix(rows: list[tuple[float, float]]) -> np.ndarray:
    return np.array(rows, np.float64).reshape(-1, 2)


@given(rows=ROWS, known=ROWS)
def test_repeats_are_those_that_a_set_finds(rows: list[tuple[float, float]], known: list[tuple[float, float]]) -> None:
    seen = {plain(row) for row in known}
    expected = sum(plain(row) in seen for row in rows) if known else len(rows) - len({plain(row) for row in rows})
    assert count_repeats(words_of(matrix(rows)), words_of(matrix(known))) == expected


def test_different_rows_have_different_words() -> None:
    whole = np.stack(np.meshgrid(*[np.arange(60.0)] * 3), axis=-1).reshape(-1, 3)
    assert len(np.unique(words_of(whole))) == len(whole)


def test_a_fit_says_which_calibration_rows_it_knew() -> None:
    rows = Table.of(np.repeat(normal_rows(300, 60), 10, axis=0))
    report = fit_artifact("knn", rows, FitSettings())
    assert report.repeated_rows > 1400
    assert "the promise holds for traffic that repeats as often" in report_document(report, rows)["notes"][-1]
    once = Table.of(normal_rows(3000, 61))
    alone = fit_artifact("knn", once, FitSettings())
    assert alone.repeated_rows == 0
    assert len(report_document(alone, once)["notes"]) == 1


def test_the_command_tells_of_repeats_everywhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "a.npy", np.concatenate([normal_rows(2000, 62), np.zeros((40, 4))]))
    assert main(["mahalanobis", "--data", f"{tmp_path}/a.npy", "--out", f"{tmp_path}/out"], {}) == 0
    repeated = load_folder(tmp_path / "out").provenance["repeated_rows"]
    assert 5 < repeated < 40
    assert f"{repeated} of 1020 calibration rows equal a row that the detector was fitted on" in capsys.readouterr().out
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["repeated_rows"] == repeated
    assert f"{repeated} of 1020 calibration rows" in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.parametrize("again", ["a.npy", "./a.npy", "link.npy"])
def test_a_file_is_not_read_twice(
    again: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("a.npy", normal_rows(3000, 63))
    Path("link.npy").symlink_to("a.npy")
    assert main(["mahalanobis", "--data", "a.npy", "--data", again, "--out", "out"], {}) == 2
    assert f"'{Path(again)}' is given twice" in capsys.readouterr().err


def test_two_arrays_of_one_file_are_two(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=normal_rows(1500, 64), y=normal_rows(1500, 65))
    both = ["--data", f"{tmp_path}/a.npz:x", "--data", f"{tmp_path}/a.npz:y"]
    assert main(["mahalanobis", *both, "--out", f"{tmp_path}/out"], {}) == 0
