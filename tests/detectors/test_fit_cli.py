"""`wayside fit`: what it takes, prints and writes, and what it refuses."""

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from wayside.detectors.artifacts.folder import load_folder
from wayside.detectors.drift.settings import WindowSettings
from wayside.detectors.fitting.cli import main
from wayside.detectors.fitting.progress import lines
from wayside.detectors.kinds.registry import KINDS
from wayside.eventing.clock import FakeClock
from wayside.eventing.json_format import encode

from .conftest import normal_rows, request_event

FIT = [sys.executable, "-m", "wayside.local", "fit"]


def fit(*arguments: str) -> int:
    return main(arguments, {})


@pytest.fixture
def data(tmp_path: Path) -> str:
    np.save(tmp_path / "rows.npy", normal_rows(2000, 20).reshape(2000, 2, 2))
    return str(tmp_path / "rows.npy")


@pytest.mark.parametrize("kind", ["knn", "mahalanobis"])
def test_row_detectors_print_what_they_promise(
    kind: str, data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fit(kind, "--data", data, "--out", str(tmp_path / "out")) == 0
    printed = capsys.readouterr().out
    assert "1.000% of rows; these calibration rows promise 0.544% to 1.565% (90 % interval)" in printed
    artifact = load_folder(tmp_path / "out")
    assert (artifact.kind, artifact.name, artifact.features, artifact.windows) == (kind, "outlier", 4, None)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "arrays.npz", "detector.json", "report.html", "report.json",
    ]  # fmt: skip


def test_ks_prints_its_level(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez(tmp_path / "rows.npz", x=normal_rows(300, 21), y=np.zeros(300))
    arguments = ("--data", f"{tmp_path}/rows.npz:x", "--out", f"{tmp_path}/out", "--window", "50", "--alpha", "0.05")
    assert fit("ks", *arguments) == 0
    printed = capsys.readouterr().out
    assert "4 columns" in printed
    assert "reference of 300 rows, which is 6.0 windows of 50 rows" in printed
    assert "5.000% of windows" in printed
    assert "a reference of 300 rows" in printed
    artifact = load_folder(tmp_path / "out")
    assert (artifact.name, artifact.windows) == ("drift", WindowSettings.of_rows(50, 0.05))


def test_provenance_tells_all_but_where_files_lie(data: str, tmp_path: Path) -> None:
    arguments = ("--data", data, "--out", f"{tmp_path}/out", "--seed", "7", "--set", "k=3", "--scaling", "robust")
    assert fit("knn", *arguments) == 0
    told = load_folder(tmp_path / "out").provenance
    assert told["data"] == [{"name": "rows.npy", "sha256": told["data"][0]["sha256"], "rows": 2000}]
    assert len(told["data"][0]["sha256"]) == 64
    assert (told["seed"], told["options"]["k"], told["scaling"]) == (7, 3, "robust")
    assert (told["fitted_rows"], told["calibration_rows"]) == (1000, 1000)
    assert told["libraries"]["numpy"] == np.__version__
    assert told["fitted_at"].endswith("Z")
    for name in ("detector.json", "report.json", "report.html"):
        assert str(tmp_path) not in (tmp_path / "out" / name).read_text()


def test_a_fit_in_a_process_of_its_own_gives_the_same_digest(data: str, tmp_path: Path) -> None:
    arguments = ["iforest", "--data", data, "--seed", "3", "--report", f"{tmp_path}/report"]
    done = subprocess.run(
        [*FIT, *arguments, "--out", f"{tmp_path}/one"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert f"report: {tmp_path}/report/report.html" in done.stdout
    assert not (tmp_path / "one" / "report.html").exists()
    assert fit(*arguments, "--out", f"{tmp_path}/two") == 0
    assert load_folder(tmp_path / "one").digest == load_folder(tmp_path / "two").digest


def test_labels_and_texts_of_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = normal_rows(2600, 27)
    text = "".join(f"{a},{b},{'tcp' if c > 0 else 'udp'},{'normal.' if d < 1.5 else 'odd.'}\n" for a, b, c, d in rows)
    (tmp_path / "a.csv").write_text(f"x,y,proto,label\n{text}")
    arguments = ("--data", f"{tmp_path}/a.csv", "--out", f"{tmp_path}/out", "--label", "label", "--ordinary", "normal.")
    assert fit("mahalanobis", *arguments, "--false-alarm-rate", "0.02", "--columns", "proto,x") == 0
    assert "ROC-AUC 0." in capsys.readouterr().out
    schema = load_folder(tmp_path / "out").schema
    assert [(column.name, column.categories) for column in schema.columns] == [("proto", ("tcp", "udp")), ("x", ())]


def test_logged_events_are_fitted_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    events = [request_event(normal_rows(20, seed), str(seed), f"2026-01-02T03:{seed:02}:00Z") for seed in range(60)]
    (tmp_path / "a.jsonl").write_bytes(b"\n".join(encode(event) for event in (*events, events[0])))
    arguments = ("--from-events", f"{tmp_path}/a.jsonl", "--to-time", "2026-01-02T03:55:00Z")
    assert fit("knn", *arguments, "--out", f"{tmp_path}/out", "--alpha", "0.02") == 0
    printed = capsys.readouterr()
    assert "read 61 events (55 taken, 5 of another time, 1 there before)" in printed.err
    assert load_folder(tmp_path / "out").provenance["data"][0]["rows"] == 1100


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("knn", "--data", "few.npy"), "998 calibration rows are too few"),
        (
            ("mahalanobis", "--data", "nan.csv", "--missing", "refuse"),
            "nan.csv, row 1, column 'y': the value is missing",
        ),
        (("mahalanobis", "--data", "inf.csv"), "inf.csv, row 0, column 'x': the value is not finite"),
        (("mahalanobis", "--data", "huge.npy"), "too large"),
        (("knn", "--data", "few.npy", "--alpha", "0"), "alpha is 0"),
        (("knn", "--data", "few.npy", "--holdout", "1"), "holdout is 1"),
        (("knn", "--data", "few.npy", "--set", "k"), "is not NAME=VALUE"),
        (("knn", "--data", "few.npy", "--set", "k=0"), "k is 0"),
        (("knn", "--data", "few.npy", "--set", "trees=9"), "knn has no option 'trees'"),
        (("knn", "--data", "few.npy", "--name", "A b"), "the name 'A b' is not allowed"),
        (("knn", "--data", "few.npy", "--what", "1"), "unrecognized arguments"),
        (("knn", "--data", "few.npy", "--columns", "1,1"), "names a column twice"),
        (("knn", "--data", "few.npy", "--saved", "folder"), "--saved DIR names what kind alibi or alibi-drift wraps"),
        (("alibi", "--data", "few.npy"), "--saved DIR names what kind alibi or alibi-drift wraps"),
        (("knn", "--data", "few.npy", "--label", "1", "--category", "1"), "is no feature as well"),
        (("knn", "--from-events", ".", "--from-time", "soon"), "neither a time such as"),
        (("knn", "--from-events", ".", "--from-time", "1h", "--to-time", "2h"), "is not before"),
        (("magic", "--data", "few.npy"), "invalid choice: 'magic'"),
    ],
    ids=lambda each: None if isinstance(each, tuple) else each[:24],
)
def test_what_cannot_be_fitted_ends_in_one_line(
    arguments: tuple[str, ...], reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    np.save("few.npy", normal_rows(1996, 22))
    np.save("huge.npy", np.full((3000, 2), 1e300) * np.arange(3000)[:, None])
    Path("nan.csv").write_text("x,y\n1,2\n3,nan\n")
    Path("inf.csv").write_text("x,y\n1e400,2\n")
    assert fit(*arguments, "--out", "out") == 2
    error = capsys.readouterr().err
    assert reason in error
    assert error.count("\n") == 1
    assert not Path("out").exists()


def test_a_report_that_cannot_be_written_leaves_the_artifact(
    data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fit("mahalanobis", "--data", data, "--out", f"{tmp_path}/out", "--report", f"{data}/below") == 1
    assert "the artifact is written, but not its report" in capsys.readouterr().err
    assert load_folder(tmp_path / "out").kind == "mahalanobis"


@pytest.mark.parametrize("name", ["notes.md", "d.npy"])
def test_what_lies_beside_an_artifact_is_never_deleted(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "keep"
    out.mkdir()
    np.save(out / "d.npy", normal_rows(2000, 28))
    assert fit("mahalanobis", "--data", f"{out}/d.npy", "--out", str(out)) == 2
    assert "keep exists and is no detector artifact" in capsys.readouterr().err
    (out / "d.npy").rename(tmp_path / "d.npy")
    assert fit("mahalanobis", "--data", f"{tmp_path}/d.npy", "--out", str(out)) == 0
    (out / name).write_bytes((tmp_path / "d.npy").read_bytes())
    capsys.readouterr()
    assert fit("mahalanobis", "--data", f"{out}/d.npy", "--data", f"{tmp_path}/d.npy", "--out", str(out)) == 2
    assert f"keep holds {name}, which is no part of a detector artifact" in capsys.readouterr().err
    assert (out / name).exists()


def test_verdicts_tell_which_version_fitted(data: str, tmp_path: Path) -> None:
    assert fit("mahalanobis", "--data", data, "--out", f"{tmp_path}/out") == 0
    identity = load_folder(tmp_path / "out").identity()
    assert identity.version == metadata.version("wayside") != ""


def test_a_library_may_come_from_another_package(data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("tensorflow")
    monkeypatch.setitem(sys.modules, "tensorflow", module)
    assert fit("mahalanobis", "--data", data, "--out", f"{tmp_path}/out") == 0
    assert load_folder(tmp_path / "out").provenance["libraries"]["tensorflow"] == "?"
    module.__version__ = "2.21.0"  # type: ignore[attr-defined]
    assert fit("mahalanobis", "--data", data, "--out", f"{tmp_path}/out") == 0
    assert load_folder(tmp_path / "out").provenance["libraries"]["tensorflow"] == "2.21.0"


def test_a_reader_that_has_gone_harms_nothing(data: str, tmp_path: Path) -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    arguments = ["mahalanobis", "--data", data, "--out"]
    done = subprocess.run(
        [*FIT, *arguments, f"{tmp_path}/out"], stdout=theirs, stderr=subprocess.PIPE, text=True, timeout=60, check=False
    )
    os.close(theirs)
    assert (done.returncode, "Traceback" in done.stderr) == (0, False)
    assert (tmp_path / "out" / "report.html").exists()
    assert fit(*arguments, f"{tmp_path}/two") == 0
    assert load_folder(tmp_path / "out").digest == load_folder(tmp_path / "two").digest


def test_a_stdout_that_cannot_be_written_is_told() -> None:
    code = (
        "from wayside.detectors.data.console import OutputFailed, say\n"
        "try: say(['a'])\nexcept OutputFailed as exc: exit(str(exc))"
    )
    with open("/dev/full", "wb") as full:
        done = subprocess.run([sys.executable, "-c", code], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "cannot write to stdout: No space left on device\n")


def test_a_fit_that_is_interrupted_ends_in_one_line(
    data: str, tmp_path: Path, interrupted_soon: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fit("iforest", "--data", data, "--out", f"{tmp_path}/out", "--set", "trees=1000") == 130
    assert capsys.readouterr().err == "wayside fit: interrupted\n"
    assert [path.name for path in tmp_path.iterdir()] == ["rows.npy"]


@pytest.fixture
def interrupted_soon() -> Iterator[None]:
    """As by Ctrl-C, by a clock of this process alone."""
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def test_no_report_where_none_is_wanted(data: str, tmp_path: Path) -> None:
    assert fit("mahalanobis", "--data", data, "--out", f"{tmp_path}/out", "--report", "none") == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["arrays.npz", "detector.json"]
    assert json.loads((tmp_path / "out" / "detector.json").read_text())["provenance"]["threshold"] > 0


def test_help_lists_each_kind_and_loads_no_keras() -> None:
    code = "import sys; from wayside.detectors.fitting.cli import main; main(['--help'], {})"
    check = f"try:\n    {code}\nfinally:\n    assert 'keras' not in sys.modules and 'sklearn' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    for kind in KINDS:
        assert f"\n  {kind} " in done.stdout
    assert "--set k=" in done.stdout


def test_progress_is_a_line_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    clock = FakeClock()
    progress = lines(clock)
    for done in range(6):
        progress("training", done, 5)
        clock.advance(0.9)
    assert capsys.readouterr().err.splitlines() == ["wayside fit: training, 3 of 5"]


def shown_on(terminal: int) -> Iterator[bytes]:
    """What is written to a terminal until the last who writes has gone."""
    try:
        while part := os.read(terminal, 4096):
            yield part
    except OSError:  # the other side is closed
        return


def test_a_terminal_shows_bars_and_is_left_clean(data: str, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [*FIT, "mahalanobis", "--data", data, "--out", f"{tmp_path}/out"], stdout=subprocess.PIPE, stderr=theirs
    ) as running:
        os.close(theirs)
        shown = b"".join(
            shown_on(ours)
        )  # while it runs: a terminal that nobody reads holds 8 KiB, then its writer waits
        printed, _ = running.communicate(timeout=60)
    os.close(ours)
    assert running.returncode == 0
    assert b"calibrating" in shown
    assert b"wrote" in printed
