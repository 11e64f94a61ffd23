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
    ("text", "budget", "told"),
    [
        ("1 per week", Budget(1.0, 604800.0), "1 per week"),
        ("1e-3 per window", Budget(0.001), "0.001 per window"),
        ("1E-3 a window", Budget(0.001), "0.001 per window"),
        ("5 per 1000 windows", Budget(0.005), "0.005 per window"),
        ("1 per 2 weeks", Budget(1.0, 1209600.0), "1 per 2 weeks"),
        ("2 every 36 hours", Budget(2.0, 129600.0), "2 per 36 hours"),
        (".5 / .5 days", Budget(0.5, 43200.0), "0.5 per 12 hours"),
        ("2.e+0 per month", Budget(2.0, 2629746.0), "2 per month"),
        ("1 per 1.5 seconds", Budget(1.0, 1.5), "1 per 1.5 seconds"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_budgets_as_people_write_them(text: str, budget: Budget, told: str) -> None:
    assert Budget.parse(text) == budget
    assert str(budget) == told
    assert Budget.parse(told) == budget


@pytest.mark.parametrize(
    "text", ["1 per 1e999 weeks", "1e999 per week", "1 per 11 years", "-1 per week", "1 per two weeks", "e3 per week"]
)
def test_budgets_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="a budget"):
        Budget.parse(text)


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
        (("ks", "--false-alarms", "0.9 per window"), "most windows would be told as drifted where nothing drifts"),
        (("ks", "--alpha", "0.9"), "give 0.5 at most"),
        (("ks", "--false-alarms", "1 per 0 weeks"), "it is spent over 0 weeks"),
        (
            ("ks", "--transform", "pca", "--components", "9"),
            "9 components of 4 features: give a whole number, 1 to 4",
        ),
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


@pytest.mark.parametrize(("kind", "columns"), [("cusum", "x,y"), ("ddm", "e"), ("kswin", "e")])  # others: on sides
def test_what_follows_a_stream_tells_its_run_length(
    kind: str, columns: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    random = np.random.default_rng(5)
    rows = np.column_stack([random.normal(size=(800, 2)), random.random(800) < 0.1])
    np.savetxt(tmp_path / "a.csv", rows, delimiter=",", header="x,y,e", comments="")
    arguments = ("--data", f"{tmp_path}/a.csv", "--columns", columns, "--window", "20", "--report", "none")
    assert main([kind, *arguments, "--alpha", "0.05", "--out", f"{tmp_path}/out"], {}) == 0
    assert "expected run time until it does is 390 rows" in capsys.readouterr().out


@pytest.mark.parametrize(("compared", "stable"), [("revisions", "the one of most"), ("endpoints", "'default', else")])
def test_what_compares_promises_nothing_of_its_reference(
    compared: str, stable: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "rows.npy", normal_rows(300, 4))
    arguments = ("--data", f"{tmp_path}/rows.npy", "--out", f"{tmp_path}/out", "--window", "20", "--report", "none")
    assert main(["ks", *arguments], {}) == 0
    plain = capsys.readouterr().out.splitlines()
    assert main(["ks", *arguments[:3], f"{tmp_path}/other", *arguments[4:], "--compare", compared], {}) == 0
    told = capsys.readouterr().out.splitlines()
    assert f"the {compared} of a service are compared with each other, each with {stable}" in told[2]
    assert not set(plain[2:-1]) & set(told)
    assert told[-1] == plain[-1]  # what may be spent is the same


def test_a_text_among_numbers_that_is_a_time_says_how_to_name_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.csv").write_text("t,x\n1,1\n2026-01-01T00:00:00Z,2\n")
    assert main(["ks", "--data", f"{tmp_path}/a.csv", "--out", f"{tmp_path}/out"], {}) == 2
    assert "it holds times: name it with --time-column" in capsys.readouterr().err


def test_more_times_than_a_category_has_texts_say_how_to_name_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [f"2026-01-01T{at // 3600:02}:{at // 60 % 60:02}:{at % 60:02}Z,1\n" for at in range(4200)]
    (tmp_path / "a.csv").write_text("time,x\n" + "".join(lines))
    assert main(["ks", "--data", f"{tmp_path}/a.csv", "--out", f"{tmp_path}/out"], {}) == 2
    assert "column 'time': there are more than 4096 different texts: it holds times" in capsys.readouterr().err
