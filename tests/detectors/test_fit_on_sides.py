"""`wayside fit` and `wayside score` on logged feedback and on logged verdicts: one column, through the command line."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wayside.detectors.artifacts.folder import load_folder
from wayside.detectors.fitting.cli import main as fit
from wayside.detectors.scoring.score_cli import main as score
from wayside.eventing.clock import format_time
from wayside.eventing.event import CloudEvent
from wayside.eventing.json_format import encode
from wayside.eventing.vocabulary import FEEDBACK, OUTLIER, REQUEST

_NS = 1_000_000_000


def logged(path: Path, event_type: str, bodies: Sequence[Any]) -> str:
    """Events a second apart, the last of them twice, and one of another type."""
    events = [
        CloudEvent(
            id=f"{at}",
            source="http://model",
            type=event_type,
            time=format_time(1_700_000_000 * _NS + at * _NS),
            datacontenttype="application/json",
            data=json.dumps(body).encode(),
            extensions={"namespace": "default", "inferenceservicename": "digits"},
        )
        for at, body in enumerate(bodies)
    ]
    other = CloudEvent(id="r", source="http://model", type=REQUEST, data=b'{"instances": [[1, 2]]}')
    path.write_bytes(b"\n".join(encode(event) for event in [*events, events[-1], other]))
    return str(path)


def feedback(count: int, share: float) -> list[Any]:
    wrong = np.random.default_rng(7).random(count) < share
    return [{"response": {"predictions": [1, 0]}, "truth": {"data": {"ndarray": [1 - int(w), 0]}}} for w in wrong]


def verdicts(count: int) -> list[Any]:
    p_values = np.random.default_rng(8).random((count, 2))
    return [{"data": {"p_value": row.tolist()}, "meta": {}} for row in p_values]


SIDES = {
    "feedback": ("adwin", "feedback", "error", FEEDBACK, feedback(300, 0.2)),
    "verdict": ("outlier-rate", "verdict", "p_value", OUTLIER, verdicts(300)),
}


@pytest.mark.parametrize(("kind", "side", "column", "event_type", "bodies"), SIDES.values(), ids=SIDES)
def test_a_log_of_feedback_or_verdicts_is_fitted_on_and_scored(
    kind: str,
    side: str,
    column: str,
    event_type: str,
    bodies: Sequence[Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    data = ("--from-events", logged(tmp_path / "log.jsonl", event_type, bodies), "--on", side)
    arguments = ("--window", "20", "--alpha", "0.05", "--report", "none", "--out", f"{tmp_path}/out")
    assert fit([kind, *data, *arguments], {}) == 0
    told = capsys.readouterr()
    assert "302 events (300 taken, 1 there before, 1 of another type)" in told.err
    assert "expected run time until it does is 390 rows" in told.out
    artifact = load_folder(tmp_path / "out")
    assert artifact.schema.names == (column,)
    assert artifact.windowed is not None
    assert (artifact.windowed.reference.rows, artifact.windowed.reference.from_time) == (
        600,
        "2023-11-14T22:13:20.000000000Z",
    )
    assert score([f"{tmp_path}/out", *data], {}) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["end"] for line in lines] == list(range(20, 620, 20))


def test_a_detector_of_a_file_of_errors_takes_feedback_whatever_its_column_is_called(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = np.random.default_rng(3).random((400, 1)) < 0.2
    np.savetxt(tmp_path / "e.csv", rows, "%d", header="wrong", comments="")
    arguments = ("--window", "20", "--alpha", "0.05", "--report", "none", "--out", f"{tmp_path}/out")
    assert fit(["ks", "--data", f"{tmp_path}/e.csv", *arguments], {}) == 0
    log = logged(tmp_path / "log.jsonl", FEEDBACK, feedback(20, 0.2))
    capsys.readouterr()
    assert score([f"{tmp_path}/out", "--from-events", log, "--on", "feedback"], {}) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_verdicts_without_p_values_are_refused_with_the_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = logged(tmp_path / "log.jsonl", OUTLIER, [{"data": {"is_outlier": [0]}}])
    assert fit(["outlier-rate", "--from-events", log, "--on", "verdict", "--out", f"{tmp_path}/out"], {}) == 2
    assert "verdict has no 'p_value'" in capsys.readouterr().err


def test_pairs_are_no_side_of_a_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert fit(["ks", "--from-events", f"{tmp_path}", "--on", "pair", "--out", f"{tmp_path}/out"], {}) == 2
    assert "--on" in capsys.readouterr().err
