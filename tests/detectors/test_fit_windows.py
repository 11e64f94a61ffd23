"""Fits of window detectors: what they take, what a window comes to, what they promise, and what they refuse."""

from pathlib import Path

import numpy as np
import pytest

from wayside.detectors.artifacts.folder import load_folder
from wayside.detectors.drift.settings import Budget, CountCut, MissingValues, SpanCut, WindowSettings
from wayside.detectors.fitting.cli import main
from wayside.detectors.fitting.window_plan import parse_cut
from wayside.detectors.fitting.windows import level_of
from wayside.eventing.errors import ConfigurationError

from .conftest import normal_rows

WEEK = Budget.parse("1 per week")


@pytest.mark.parametrize(
    ("window", "step", "cut"),
    [
        ("200", None, CountCut(200, 200)),
        ("200", "50", CountCut(200, 50)),
        ("1h", None, SpanCut(3600.0, 3600.0)),
        ("1h", "15m", SpanCut(3600.0, 900.0)),
    ],
)
def test_windows_of_rows_and_of_time(window: str, step: str | None, cut: object) -> None:
    assert parse_cut(window, step) == cut


@pytest.mark.parametrize("pair", [("200", "1h"), ("1h", "20"), ("1.5", None), ("200", "300"), ("soon", None)])
def test_windows_that_are_none_are_refused(pair: tuple[str, str | None]) -> None:
    with pytest.raises(ConfigurationError):
        parse_cut(*pair)


@pytest.mark.parametrize(
    ("settings", "rate", "level"),
    [
        (WindowSettings.of_rows(50, 0.02), None, 0.02),
        (WindowSettings(CountCut(100, 100), WEEK), None, None),
        (WindowSettings(CountCut(100, 100), WEEK), 1.0, 100 / 604800),
        (WindowSettings(CountCut(100, 25), WEEK), 1.0, 25 / 604800),
        (WindowSettings(SpanCut(3600, 3600), WEEK), None, 3600 / 604800),
        (WindowSettings(SpanCut(604800, 604800), WEEK), None, 0.05),
    ],
    ids=["a window", "unknown", "known", "sliding", "span", "limited"],
)
def test_the_level_that_a_window_comes_to(settings: WindowSettings, rate: float | None, level: float | None) -> None:
    assert level_of(settings, rate) == (None if level is None else pytest.approx(level))


def test_a_time_column_tells_the_level(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = normal_rows(600, 3)
    text = "".join(f"2026-01-01T00:{at // 60:02}:{at % 60:02}Z,{a},{b}\n" for at, (a, b) in enumerate(rows[:, :2]))
    (tmp_path / "a.csv").write_text(f"when,x,y\n{text}")
    arguments = ("--data", f"{tmp_path}/a.csv", "--time-column", "when", "--window", "20", "--out", f"{tmp_path}/out")
    assert main(["ks", *arguments], {}) == 0
    told = capsys.readouterr().out
    assert "from 2026-01-01T00:00:00.000000000Z to 2026-01-01T00:09:59.000000000Z" in told
    assert "1 per week of event time; a window of 20 rows at 1 rows a second comes to 3.31e-05" in told
    artifact = load_folder(tmp_path / "out")
    assert artifact.features == 2
    assert artifact.windows is not None
    assert (artifact.windows.budget, artifact.windows.missing) == (WEEK, MissingValues.KEEP)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("knn", "--window", "50"), "--window is for kinds that judge windows"),
        (("ks", "--alpha", "0.01", "--false-alarms", "1 per day"), "give one of them"),
        (("ks", "--components", "2"), "--components belongs to --transform pca"),
        (("ks", "--missing", "impute"), "--missing impute is for rows"),
        (("ks", "--window", "5000"), "300 rows are too few for windows of 5000 rows"),
        (("ks", "--expect-rows", "many"), "write it as '10000 per hour'"),
        (("knn", "--compare", "revisions"), "--compare is for kinds that judge windows"),
        (("knn", "--missing", "drop"), "--missing drop is for kinds that judge windows"),
        (("ks", "--holdout", "0.3"), "--holdout is for kinds that judge rows"),
        (("ks", "--test-share", "0.3"), "--test-share is for kinds that judge rows"),
        (("cusum", "--compare", "revisions"), "cusum cannot compare revisions"),
        (("mmd", "--missing", "keep", "--transform", "columns"), "mmd after --transform columns takes no missing"),
        (("ks", "--scaling", "robust"), "--scaling is for --transform scaled or pca"),
        (("ks", "--measure", "margin"), "--measure belongs to --transform uncertainty"),
        (("ks", "--transform", "encoder"), "go together"),
        (("ks", "--false-alarms", "0 per week"), "give a number above 0"),
        (("ks", "--false-alarms", "weekly"), "write it as '1 per week'"),
        (("ks", "--window", "20", "--lateness", "nan"), "a lateness of nan s"),
        (("ks", "--window", "20", "--resolve-after", "0"), "give 1 to 1000"),
    ],
    ids=lambda each: "-".join(each).replace("--", "") if isinstance(each, tuple) else "",
)
def test_flags_that_do_not_fit_are_refused(
    arguments: tuple[str, ...], reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "rows.npy", normal_rows(300, 4))
    assert main([*arguments, "--data", f"{tmp_path}/rows.npy", "--out", f"{tmp_path}/out"], {}) == 2
    assert reason in capsys.readouterr().err


@pytest.mark.parametrize(
    ("kind", "columns"), [("cusum", "x,y"), ("adwin", "e"), ("ddm", "e"), ("kswin", "e"), ("outlier-rate", "p")]
)
def test_what_follows_a_stream_tells_its_run_length(
    kind: str, columns: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    random = np.random.default_rng(5)
    rows = np.column_stack([random.normal(size=(800, 2)), random.random(800) < 0.1, random.random(800)])
    np.savetxt(tmp_path / "a.csv", rows, delimiter=",", header="x,y,e,p", comments="")
    arguments = ("--data", f"{tmp_path}/a.csv", "--columns", columns, "--window", "20", "--report", "none")
    assert main([kind, *arguments, "--alpha", "0.05", "--out", f"{tmp_path}/out"], {}) == 0
    assert "expected run time until it does is 390 rows" in capsys.readouterr().out
