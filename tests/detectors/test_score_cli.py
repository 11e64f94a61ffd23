"""`wayside score`: a line a row, the service's own numbers, and how good they are."""

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wayside.detectors.artifacts.artifact import Artifact
from wayside.detectors.artifacts.folder import save
from wayside.detectors.fitting.fit import FitSettings, fit_artifact
from wayside.detectors.scoring.judge import RowJudge
from wayside.detectors.scoring.quality import Quality
from wayside.detectors.scoring.score_cli import main
from wayside.detectors.tabular.table import Table
from wayside.eventing.payloads.arrays import decode
from wayside.eventing.payloads.payload import Message

from .conftest import normal_rows

ROWS = np.concatenate([normal_rows(1500, 40), normal_rows(20, 41) + 9])
LABELS = np.arange(1520) >= 1500


@pytest.fixture
def data(tmp_path: Path) -> str:
    np.savez(tmp_path / "a.npz", X=ROWS, y=LABELS.astype(int))
    return f"{tmp_path}/a.npz"


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_the_numbers_are_the_services(
    knn: Artifact, knn_folder: Path, data: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(knn_folder), "--data", f"{data}:X"], {}) == 0
    printed = capsys.readouterr()
    judge = RowJudge.of(knn)
    payload = decode(Message(json.dumps({"instances": ROWS.tolist()}).encode()))
    verdict = judge.verdict(judge.score(judge.schema.encode(payload)))
    shown = lines(printed.out)
    assert [line["row"] for line in shown] == list(range(len(ROWS)))
    assert [line["score"] for line in shown] == list(verdict.scores)
    assert [line["p_value"] for line in shown] == list(verdict.p_values)
    assert [line["decision"] for line in shown] == list(verdict.decisions)
    assert f"1520 rows, {sum(verdict.decisions)} flagged" in printed.err


def test_labels_tell_the_quality(knn_folder: Path, data: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(knn_folder), "--data", data, "--label", "y", "--out", f"{data}.csv"], {}) == 0
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "ROC-AUC 1.0000, average precision 1.0000" in printed.err
    assert "recall 1.0000" in printed.err
    assert "of 1500 ordinary rows" in printed.err
    with Path(f"{data}.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(ROWS)
    assert [row["decision"] for row in rows[1500:]] == ["true"] * 20


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A detector of a category and of a number that may be missing."""
    values = normal_rows(2000, 44, features=3)
    values[:, 1] = np.arange(2000) % 2
    values[::5, 2] = np.nan
    table = Table(values, ("a", "port", "c"), {1: ("443", "80")})
    folder = tmp_path_factory.mktemp("artifacts") / "named"
    save(fit_artifact("mahalanobis", table, FitSettings(alpha=0.02)).artifact, folder)
    return str(folder)


def test_columns_go_by_name_and_numbers_may_be_categories(
    named: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.csv").write_text("note,c,port,a\nx,0.5,80,1\n7,,443,1\n")
    (tmp_path / "a.jsonl").write_text('{"a": 1, "port": 80, "c": 0.5}\n{"a": 1, "port": "443", "c": null}\n')
    told = []
    for name in ("a.csv", "a.jsonl"):
        assert main([named, "--data", f"{tmp_path}/{name}"], {}) == 0
        told.append(capsys.readouterr().out)
    assert told[0] == told[1]
    assert all(line["error"] is None for line in lines(told[0]))


BAD = "a,port,c\n1,80,0\n,80,0\n1,80,\n1,80,inf\n"


def test_rows_that_a_service_would_refuse_end_it_or_are_skipped(
    named: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.csv").write_text(BAD)
    assert main([named, "--data", f"{tmp_path}/a.csv"], {}) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "row 1, column 'a': the value is missing" in printed.err
    assert main([named, "--data", f"{tmp_path}/a.csv", "--skip-bad"], {}) == 0
    printed = capsys.readouterr()
    shown = lines(printed.out)
    assert [line["decision"] is None for line in shown] == [False, True, False, True]
    assert shown[1]["error"] == "column 'a': the value is missing"
    assert shown[3]["error"] == "column 'c': the value is infinite"
    assert "2 rows were skipped" in printed.err


def test_a_score_that_is_not_finite_is_an_error_and_flagged(
    knn_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "a.npy", np.array([[1e300, 0, 0, 0], [0, 0, 0, 0]]))
    assert main([str(knn_folder), "--data", f"{tmp_path}/a.npy"], {}) == 0
    printed = capsys.readouterr()
    first, second = lines(printed.out)
    assert (first["score"], first["decision"], first["error"]) == (None, True, "the score is not finite")
    assert (second["decision"], second["error"]) == (False, None)
    assert "1 rows have no finite score" in printed.err


def test_a_stateful_kind_scores_a_stream(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = fit_artifact("mahalanobis-online", Table.of(normal_rows(2000, 45)), FitSettings(alpha=0.02))
    save(report.artifact, tmp_path / "out")
    np.save(tmp_path / "a.npy", normal_rows(100, 46))
    assert main([f"{tmp_path}/out", "--data", f"{tmp_path}/a.npy"], {}) == 0
    scores = [line["score"] for line in lines(capsys.readouterr().out)]
    assert len(scores) == 100
    assert scores != RowJudge.of(report.artifact).score(normal_rows(100, 46)).tolist()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["nowhere", "--data", "a.npy"], "no detector artifact in nowhere"),
        (["ARTIFACT", "--data", "nowhere.npy"], "cannot read nowhere.npy"),
        (["ARTIFACT"], "give rows with --data FILE, or logged events with --from-events"),
        (["ARTIFACT", "--data", "a.npy", "--from-events", "b"], "give rows with --data FILE, or logged events"),
        (["ARTIFACT", "--data", "a.npy", "--out", "a.txt"], "neither - nor a .jsonl"),
        (["ARTIFACT", "--data", "a.npy", "--from-time", "2h"], "choose among --from-events"),
        (["ARTIFACT", "--data", "wide.npy"], "rows have 5 features, not 4"),
        (["WINDOW", "--data", "wide.npy"], "rows have 5 features, not 4"),
    ],
    ids=["no artifact", "no data", "neither", "both", "format", "time", "width", "window"],
)
def test_what_cannot_be_scored_ends_in_one_line(
    arguments: list[str], reason: str, knn_folder: Path, ks_folder: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    np.save("wide.npy", normal_rows(3, 1, features=5))
    named = {"ARTIFACT": str(knn_folder), "WINDOW": str(ks_folder)}
    assert main([named.get(each, each) for each in arguments], {}) == 2
    printed = capsys.readouterr()
    assert reason in printed.err
    assert (printed.out, printed.err.count("\n")) == ("", 1)


def test_lines_never_take_the_place_of_the_data(
    knn_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.csv").write_text("1,2,3,4\n")
    Path("y.csv").write_text("label\n0\n")
    Path("link.csv").symlink_to("a.csv")
    for out in ("a.csv", "./a.csv", "link.csv", "y.csv"):
        assert main([str(knn_folder), "--data", "a.csv", "--label", "y.csv", "--out", out], {}) == 2
        assert "is among the data: name another file" in capsys.readouterr().err
    Path("logs").mkdir()
    assert main([str(knn_folder), "--from-events", "logs", "--out", "logs/scores.jsonl"], {}) == 2
    assert "is among the data" in capsys.readouterr().err
    assert Path("a.csv").read_text() == "1,2,3,4\n"
    assert main([str(knn_folder), "--data", "a.csv", "--out", "scores.csv"], {}) == 0
    assert sorted(path.name for path in Path().iterdir()) == ["a.csv", "link.csv", "logs", "scores.csv", "y.csv"]


def test_labels_without_scikit_learn_are_refused_before_a_line_is_written(
    knn_folder: Path, data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    arguments = [str(knn_folder), "--data", data, "--label", "y"]
    assert main([*arguments, "--out", f"{tmp_path}/a.csv"], {}) == 2
    assert "scikit-learn needs the extra 'fit'" in capsys.readouterr().err
    assert not (tmp_path / "a.csv").exists()


SCORE = "import sys; from wayside.detectors.scoring.score_cli import main; sys.exit(main(sys.argv[1:], {}))"
BOUNDED = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)); {SCORE}"


def test_a_disk_that_is_full_ends_it_with_status_1_and_one_line(knn_folder: Path, data: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("of before")
    arguments = [sys.executable, "-c", BOUNDED, str(knn_folder), "--data", f"{data}:X", "--out", f"{tmp_path}/a.csv"]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (1, f"wayside score: cannot write {tmp_path}/a.csv: File too large\n")
    assert (tmp_path / "a.csv").read_text() == "of before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "a.npz"]


def test_a_stdout_that_cannot_be_written_ends_it_with_status_1_and_one_line(knn_folder: Path, data: str) -> None:
    arguments = [sys.executable, "-c", SCORE, str(knn_folder), "--data", f"{data}:X"]
    with open("/dev/full", "wb") as full:
        done = subprocess.run(arguments, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (1, "wayside score: cannot write to stdout: No space left on device\n")


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        ([True, True], (None, None, 0.5, None)),
        ([False, False], (None, None, None, 2)),
        ([True, False], (0.0, 0.5, 0.0, 1)),
    ],
    ids=["outliers alone", "ordinary alone", "both"],
)
def test_figures_that_labels_do_not_give_are_left_out(labels: list[bool], told: tuple[Any, ...]) -> None:
    scores, decisions = np.array([1.0, np.inf]), np.array([False, True])
    quality = Quality.of(scores, decisions, np.array(labels), 999, 0.01)
    alarms = quality.false_alarms
    rows = None if alarms is None else alarms.rows
    assert (quality.roc_auc, quality.average_precision, quality.recall, rows) == told
    assert json.loads(json.dumps(quality.document(), allow_nan=False))["rows"] == 2
    assert quality.lines()
