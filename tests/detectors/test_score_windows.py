"""`wayside score` on a drift artifact: a verdict a line, labels told as delays and false alarms."""

import json
from pathlib import Path

import numpy as np
import pytest

from wayside.detectors.artifacts.folder import save
from wayside.detectors.drift.settings import Budget, Compared, CountCut, WindowSettings
from wayside.detectors.fitting.fit import FitSettings, fit_artifact
from wayside.detectors.fitting.window_plan import WindowPlan
from wayside.detectors.scoring.detection import Detection
from wayside.detectors.scoring.score_cli import main
from wayside.detectors.tabular.table import Table

from .conftest import normal_rows


def test_a_file_is_read_as_a_stream_of_windows(
    ks_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows, drifted = normal_rows(480, 5), np.zeros(480)
    rows[300:350] += 3
    drifted[300:350] = 1
    np.savez(tmp_path / "s.npz", x=rows, y=drifted)
    data = ("--data", f"{tmp_path}/s.npz:x", "--label", "y", "--out", f"{tmp_path}/out.jsonl")
    assert main([str(ks_folder), *data], {}) == 0
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [(line["first"], line["end"]) for line in lines] == [(at, at + 50) for at in range(0, 450, 50)]
    assert lines[6]["decision"] is True
    assert {line["level"] for line in lines} == {0.01}
    told = capsys.readouterr().err
    assert "450 rows in windows, 30 open at the end" in told
    assert "1 of 1 stretches of drifted rows told, after 50 rows" in told


def test_detection_counts_delays_and_false_alarms() -> None:
    drifted = np.zeros(100, np.bool_)
    drifted[30:50] = drifted[80:90] = True
    windows = [[(at, at + 10)] for at in range(0, 100, 10)]
    flagged = [at in (0, 4) for at in range(10)]
    assert Detection.of(drifted, windows, flagged) == Detection(2, (20,), 7, 1)


@pytest.mark.parametrize("timed", [True, False], ids=["timed", "untimed"])
def test_a_labelled_csv_tells_delay_and_false_alarms(
    timed: bool, ks_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows, head = normal_rows(300, 8), "0,1,2,3,drifted"
    rows[160:] += 3
    cells = np.column_stack([rows, np.arange(300) >= 160])
    if timed:
        cells, head = np.column_stack([1.7e9 + 60.0 * np.arange(300), cells]), f"when,{head}"
    np.savetxt(tmp_path / "live.csv", cells, "%.17g", ",", header=head, comments="")
    data = (
        "--data",
        f"{tmp_path}/live.csv",
        "--header",
        "yes",
        "--label",
        "drifted",
        *(("--time-column", "when") if timed else ()),
    )
    assert main([str(ks_folder), *data], {}) == 0
    printed = capsys.readouterr()
    lines = [json.loads(line) for line in printed.out.splitlines()]
    assert [line["decision"] for line in lines] == [False, False, False, True, True, True]
    assert lines[4]["drifted"] == lines[4]["moved"] != []
    assert lines[0]["from_time"] == ("2023-11-14T22:13:20.000000000Z" if timed else None)
    assert "1 of 1 stretches of drifted rows told, after 40 rows (median)" in printed.err
    assert "0 false alarms in 3 windows without a drifted row" in printed.err
    assert ("the rows have no times: row n stands at n times 1 s" in printed.err) is not timed


def test_a_file_without_labels_has_a_line_a_window(ks_folder: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "rows.npy", normal_rows(120, 6))
    assert main([str(ks_folder), "--data", f"{tmp_path}/rows.npy", "--out", f"{tmp_path}/out.csv"], {}) == 0
    head, *lines = (tmp_path / "out.csv").read_text().splitlines()
    assert head.startswith("window,first,end,from_time,to_time,statistic,p_value,level,decision")
    assert [line.split(",")[:3] for line in lines] == [["0", "0", "50"], ["1", "50", "100"]]


@pytest.mark.parametrize("compared", [Compared.REVISIONS, Compared.ENDPOINTS])
def test_what_compares_cannot_score_rows_of_a_table(
    compared: Compared, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = WindowSettings(CountCut(50, 50), Budget(0.01), compared=compared)
    plan = FitSettings(name="canary", windows=WindowPlan(settings))
    save(fit_artifact("ks", Table.of(normal_rows(300, 2)), plan).artifact, tmp_path / "ks")
    np.save(tmp_path / "rows.npy", normal_rows(120, 6))
    data = ("--data", f"{tmp_path}/rows.npy", "--out", f"{tmp_path}/out.jsonl")
    assert main([f"{tmp_path}/ks", *data], {}) == 2
    assert f"'canary' compares the {compared.value} of a service, and rows of a table have none" in (
        capsys.readouterr().err
    )
    assert not (tmp_path / "out.jsonl").exists()


@pytest.fixture(scope="module")
def timed(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A detector of columns x and y that was fitted on rows with times."""
    table = Table(normal_rows(300, 2, 2), ("x", "y"), {}, time_s=1.7e9 + np.arange(300.0))
    folder = tmp_path_factory.mktemp("artifacts") / "timed"
    save(fit_artifact("ks", table, FitSettings(name="drift", windows=WindowPlan.of_rows(20))).artifact, folder)
    return str(folder)


TIMES = [f"2026-01-01T00:00:{at:02}Z" for at in range(40)]
FILES = {
    "a time in CSV": (".csv", "x,when,y\n" + "".join(f"1,{time},2\n" for time in TIMES), "when"),
    "seconds called time": (".csv", "x,Time,y\n" + "".join(f"1,{at},2\n" for at in range(40)), "Time"),
    "a time in JSON": (".jsonl", "".join(json.dumps({"at": time, "x": 1, "y": 2}) + "\n" for time in TIMES), "at"),
    "no time": (".csv", "x,when,y\n" + "1,monday,2\n" * 40, None),
}


@pytest.mark.parametrize(("suffix", "text", "column"), FILES.values(), ids=FILES)
def test_times_that_nobody_named_are_told(
    suffix: str, text: str, column: str | None, timed: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / f"live{suffix}"
    path.write_text(text)
    assert main([timed, "--data", str(path)], {}) == 0
    told = [line for line in capsys.readouterr().err.splitlines() if "looks like the times" in line]
    assert [f"--time-column {column}" in line for line in told] == ([] if column is None else [True])
    if column is not None:
        assert main([timed, "--data", str(path), "--time-column", column], {}) == 0
        assert "looks like the times" not in capsys.readouterr().err


def test_times_in_parquet_that_nobody_named_are_told(
    timed: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    times = pa.array([1_700_000_000_000 + at for at in range(40)], pa.timestamp("ms", "UTC"))
    pq.write_table(pa.table({"x": [1.0] * 40, "y": [2.0] * 40, "when": times}), tmp_path / "live.parquet")
    assert main([timed, "--data", f"{tmp_path}/live.parquet"], {}) == 0
    assert "column 'when' looks like the times of rows" in capsys.readouterr().err


def test_a_detector_fitted_without_times_asks_for_none(
    ks_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    head, line = "a,b,c,time\n", "1,2,3,4\n"
    (tmp_path / "live.csv").write_text(head + line * 60)
    assert main([str(ks_folder), "--data", f"{tmp_path}/live.csv"], {}) == 0
    assert "looks like the times" not in capsys.readouterr().err
