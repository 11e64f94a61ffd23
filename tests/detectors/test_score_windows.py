"""`wayside score` on a drift artifact: a verdict a line, labels told as delays and false alarms."""

import json
from pathlib import Path

import numpy as np
import pytest

from wayside.detectors.scoring.detection import Detection
from wayside.detectors.scoring.score_cli import main

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
