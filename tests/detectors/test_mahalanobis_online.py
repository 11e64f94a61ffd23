"""The online Mahalanobis distance: what alibi-detect said of the same batches, the moments' definitions, the edges."""

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wayside.detectors.fitting.fit import FitSettings, fit_artifact
from wayside.detectors.kinds.mahalanobis_online import Moments, OnlineMahalanobis, OnlineOptions
from wayside.detectors.kinds.protocol import Arrays, Execution, FitContext
from wayside.detectors.scoring.judge import RowJudge
from wayside.detectors.scoring.stream import advance_rows
from wayside.detectors.tabular.table import Table
from wayside.eventing.errors import ConfigurationError

from .conftest import normal_rows

ORACLES = Path(__file__).with_name("oracles")
ALIBI = Path(__file__).parents[2] / ".venvs" / "alibi" / "bin" / "python"
ROWS = normal_rows(600, 5, 5) * np.array([1.0, 2.0, 3.0, 4.0, 5.0]) + 7.0
UNCLIPPED = OnlineOptions(n_components=2, start_clip=1 << 30)
Oracle = dict[str, np.ndarray]


def blank(options: OnlineOptions, features: int) -> OnlineMahalanobis:
    """One that has seen nothing."""
    return OnlineMahalanobis(options, Moments.blank(features))


def fitted(rows: np.ndarray = ROWS, **options: float) -> OnlineMahalanobis:
    return OnlineMahalanobis.fit(rows, OnlineOptions(**options), FitContext())  # type: ignore[arg-type]


def walk(detector: OnlineMahalanobis, parts: list[np.ndarray]) -> tuple[np.ndarray, Arrays]:
    memory, scores = detector.memory(), []
    for part in parts:
        found, memory = detector.advance(memory, part)
        scores.append(found)
    return np.concatenate(scores), memory


def check_like_alibi(oracle: Oracle, components: int, max_n: int) -> None:
    """Scores within 1e-4, and NaN in the place of the zeros of rows that cannot be judged yet."""
    parts = np.split(oracle["rows"], np.cumsum(oracle["batches"])[:-1])
    options = OnlineOptions(n_components=components, max_n=max_n)
    ours, _ = walk(blank(options, oracle["rows"].shape[1]), parts)
    theirs = oracle[f"{components}-{max_n}"]
    known = np.isfinite(ours)
    assert not theirs[~known].any()
    assert 2 <= (~known).sum() <= components + 1
    assert np.allclose(ours[known], theirs[known], rtol=1e-9, atol=1e-9)


@pytest.fixture(scope="module")
def oracle() -> Oracle:
    with np.load(ORACLES / "mahalanobis_online.npz", allow_pickle=False) as file:
        return dict(file)


@pytest.mark.parametrize("max_n", [0, 50])
@pytest.mark.parametrize("components", [1, 2, 3, 6])
def test_alibi_detect_said_the_same(oracle: Oracle, components: int, max_n: int) -> None:
    check_like_alibi(oracle, components, max_n)


@pytest.mark.alibi
def test_alibi_detect_says_the_same(tmp_path: Path) -> None:
    if not ALIBI.exists():
        told = pytest.fail if os.environ.get("WAYSIDE_TEST_REQUIRE_ALIBI") == "1" else pytest.skip
        told("no .venvs/alibi: run scripts/setup --with-alibi")
    path = tmp_path / "said.npz"
    script = ORACLES / "make_mahalanobis_online.py"
    subprocess.run([ALIBI, script, path], check=True, capture_output=True)
    with np.load(path, allow_pickle=False) as file:
        check_like_alibi(dict(file), 3, 0)


@pytest.mark.parametrize("event_rows", [1, 2, 7, 600])
def test_moments_are_those_of_all_rows_however_they_came(event_rows: int) -> None:
    _, memory = walk(blank(UNCLIPPED, 5), [ROWS[at : at + event_rows] for at in range(0, 600, event_rows)])
    assert memory["count"] == [600]
    assert np.allclose(memory["mean"], ROWS.mean(axis=0), rtol=1e-12)
    assert np.allclose(memory["covariance"], np.cov(ROWS.T), rtol=1e-10)


def test_a_row_is_judged_by_the_rows_before_it() -> None:
    scores, _ = walk(blank(OnlineOptions(n_components=5, start_clip=1 << 30), 5), [ROWS])
    before = ROWS[:300]
    gap = ROWS[300] - before.mean(axis=0)
    assert scores[300] == pytest.approx(gap @ np.linalg.inv(np.cov(before.T)) @ gap, rel=1e-9)


def test_judging_is_pure() -> None:
    detector = fitted()
    memory = detector.memory()
    kept = {name: array.copy() for name, array in memory.items()}
    one, after = detector.advance(memory, ROWS[:9])
    again, after_again = detector.advance(memory, ROWS[:9])
    assert one.tobytes() == again.tobytes()
    assert all(after[name].tobytes() == after_again[name].tobytes() for name in after)
    assert all(memory[name].tobytes() == kept[name].tobytes() for name in kept)
    assert {name: array.shape for name, array in after.items()} == {name: array.shape for name, array in kept.items()}


def test_no_rows_change_nothing() -> None:
    detector = fitted()
    scores, memory = detector.advance(detector.memory(), np.empty((0, 5)))
    assert scores.shape == (0,)
    assert memory == detector.memory() or all(np.array_equal(memory[name], detector.memory()[name]) for name in memory)


def test_what_is_learned_of_a_row_is_clipped() -> None:
    detector = fitted(std_clip=2.0)
    start = detector.memory()
    far = start["mean"] + 1e6
    _, memory = detector.advance(start, far[None])
    reach = 2.0 * np.sqrt(np.diag(start["covariance"]))
    assert np.allclose(memory["mean"] - start["mean"], reach / (len(ROWS) + 1), rtol=1e-9)


def test_max_n_lets_the_old_go() -> None:
    moved = ROWS + 10.0
    short, long = fitted(max_n=50), fitted()
    parts = [moved[at : at + 10] for at in range(0, 600, 10)]
    assert np.abs(walk(short, parts)[1]["mean"] - moved.mean(axis=0)).max() < 1.5
    assert np.abs(walk(long, parts)[1]["mean"] - moved.mean(axis=0)).max() > 2.0


@pytest.mark.parametrize("huge", [1e160, 1e200, 1.7e308])
def test_a_row_that_would_overflow_the_memory_is_judged_and_not_learned(huge: float) -> None:
    detector = OnlineMahalanobis(UNCLIPPED, Moments.of(fitted(n_components=2).memory()))
    before = detector.memory()
    scores, after = detector.advance(before, np.vstack([ROWS[:3], np.full((1, 5), huge)]))
    assert np.isfinite(scores[:3]).all()
    assert not np.isfinite(scores[3])
    assert all(np.array_equal(after[name], before[name]) for name in before)


def test_a_huge_row_after_start_clip_scores_as_infinite_and_is_learned_clipped() -> None:
    detector = fitted()
    scores, after = detector.advance(detector.memory(), np.full((1, 5), 1e200))
    assert not np.isfinite(scores).any()
    assert all(np.isfinite(array).all() for array in after.values())


def test_rows_without_finite_features_are_not_learned() -> None:
    report = fit_artifact("mahalanobis-online", Table.of(np.tile(ROWS, (4, 1))), FitSettings())
    judge = RowJudge.of(report.artifact)
    detector = OnlineMahalanobis.restore(report.artifact.state, Execution())
    good = np.vstack([ROWS[:2], ROWS[3:5]])
    bad = np.insert(good, 2, 1e308 * np.sign(judge.preprocessing.centre), axis=0)
    assert judge.preprocessing.scale.max() > 1  # so that the bad row's features are finite or not by its scale alone
    bad[2, 0] = np.inf
    scores, memory = advance_rows(detector, judge.preprocessing, detector.memory(), bad)
    expected, wanted = advance_rows(detector, judge.preprocessing, detector.memory(), good)
    assert np.isposinf(scores[2])
    assert np.array_equal(np.delete(scores, 2), expected)
    assert all(np.array_equal(memory[name], wanted[name]) for name in wanted)


def test_a_memory_without_spread_judges_nothing() -> None:
    flat = Moments(500.0, ROWS.mean(axis=0), np.zeros((5, 5)))
    detector = OnlineMahalanobis(OnlineOptions(n_components=2), flat)
    scores, _ = detector.advance(detector.memory(), ROWS[:4])
    assert np.isnan(scores).all()  # and that is an error's verdict, never "no outlier"


def test_columns_that_never_vary_or_go_together_are_no_matter_beyond_the_leading_directions() -> None:
    rows = ROWS.copy()
    rows[:, 1], rows[:, 3] = 4.0, 2 * rows[:, 0]  # by rounding, some variances come out below 0
    assert np.isfinite(fitted(rows, n_components=3).score(rows)).all()


def test_a_fitted_score_stays_and_is_the_same_bits_in_any_batch() -> None:
    detector = fitted()
    whole = detector.score(ROWS)
    parts = np.concatenate([detector.score(ROWS[at : at + 7]) for at in range(0, 600, 7)])
    assert whole.tobytes() == parts.tobytes()
    detector.advance(detector.memory(), ROWS)
    assert detector.score(ROWS).tobytes() == whole.tobytes()
    moved, _ = detector.advance(detector.memory(), ROWS[:1])
    assert moved[0] == pytest.approx(whole[0], rel=0.05)


def test_state_is_all_of_it() -> None:
    detector = fitted(n_components=4, std_clip=2.5, start_clip=20, max_n=77)
    again = OnlineMahalanobis.restore(detector.state(), Execution())
    assert again.features == 5
    assert again.advance(again.memory(), ROWS)[0].tobytes() == detector.advance(detector.memory(), ROWS)[0].tobytes()


@pytest.mark.parametrize(
    "change", [{"mean": np.zeros(4)}, {"count": np.zeros(2)}, {"covariance": np.full((5, 5), np.nan)}], ids=str
)
def test_a_memory_of_another_form_is_refused(change: dict[str, np.ndarray]) -> None:
    detector = fitted()
    with pytest.raises(ValueError, match="moments"):
        detector.advance({**detector.memory(), **change}, ROWS)
    with pytest.raises(ValueError, match="moments"):
        OnlineMahalanobis.restore(type(detector.state())({**detector.state().arrays, **change}), Execution())


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"n_components": 0}, "at least 1"),
        ({"start_clip": -1}, "at least 0"),
        ({"std_clip": 0.0}, "above 0"),
        ({"std_clip": float("nan")}, "above 0"),
        ({"max_n": 2}, "3 rows or more"),
        ({"max_n": -1}, "3 rows or more"),
    ],
    ids=str,
)
def test_options_out_of_range(options: dict[str, float], reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        OnlineOptions(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (ROWS[:100], "more than start_clip = 100 rows"),
        (np.tile(ROWS[:1], (200, 1)), "hardly vary"),
        (np.zeros((200, 513)), "512 features at most"),
    ],
    ids=["few", "equal", "wide"],
)
def test_rows_that_cannot_be_fitted_on(rows: np.ndarray, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        fitted(rows)


def test_false_alarms_of_a_stream_are_those_asked_for() -> None:
    report = fit_artifact("mahalanobis-online", Table.of(normal_rows(6000, 3)), FitSettings(alpha=0.05))
    judge = RowJudge.of(report.artifact)
    detector = OnlineMahalanobis.restore(report.artifact.state, Execution())
    for event_rows in (1, 40):
        memory, flagged = detector.memory(), 0
        for at in range(0, 2000, event_rows):
            scores, memory = advance_rows(
                detector, judge.preprocessing, memory, normal_rows(2000, 9)[at : at + event_rows]
            )
            flagged += sum(judge.verdict(scores).decisions)
        assert 0.035 <= flagged / 2000 <= 0.065


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(1, 30), min_size=1, max_size=12),
    st.sampled_from([0, 3, 40]),
    st.sampled_from([0, 10]),
    st.floats(1e-3, 1e3),
    st.integers(0, 2**31),
)
def test_a_memory_stays_a_memory(events: list[int], max_n: int, start_clip: int, spread: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    detector = blank(OnlineOptions(n_components=2, max_n=max_n, start_clip=start_clip), 3)
    memory = detector.memory()
    for rows in events:
        scores, memory = detector.advance(memory, random.standard_cauchy((rows, 3)) * spread)
        assert scores.shape == (rows,)
        assert not (scores < 0).any()
        assert np.array_equal(memory["covariance"], memory["covariance"].T)
        assert np.linalg.eigvalsh(memory["covariance"])[0] >= -1e-9 * np.abs(memory["covariance"]).max()
    assert memory["count"] == [sum(events)]
