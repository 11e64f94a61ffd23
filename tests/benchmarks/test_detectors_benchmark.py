"""The computing parts of the detectors' benchmarks: splits, intervals, verdicts, tables, detectors of given weights."""

import json
from pathlib import Path

import numpy as np
import pytest
from detectors_adbench import Quality, verdict
from detectors_adbench import write_splits as write_adbench
from detectors_alarms import Alarms, Sizes, false_alarms
from detectors_artifacts import forest_of_trees, save_calibrated, vae_of_weights, vae_untrained
from detectors_data import Labelled, adbench_files, read_kdd
from detectors_document import Grid, insert, number
from detectors_inprocess import BATCHES, rates
from detectors_inprocess import grid as in_process_grid
from detectors_kdd import PAIRS
from detectors_kdd import write_splits as write_kdd
from detectors_load import write_bodies
from detectors_scores import score
from detectors_speed import QUOTED, Served, grid, rows_of
from logger_load import Load
from logger_tables import summary
from sklearn.ensemble import IsolationForest

from wayside.detectors.artifacts.folder import load_folder
from wayside.detectors.kinds.registry import ROW_KINDS
from wayside.detectors.scoring.calibration import Interval, false_alarm_interval, measured_interval
from wayside.detectors.scoring.judge import RowJudge


def _rows(count: int, features: int = 4) -> np.ndarray:
    return np.random.default_rng(count).normal(size=(count, features))


def _labelled(ordinary: int, outliers: int) -> Labelled:
    rows = np.concatenate([_rows(ordinary), _rows(outliers) + 6.0])
    return Labelled("some", rows, np.arange(len(rows)) >= ordinary)


def test_the_interval_holds_in_nine_splits_of_ten() -> None:
    random, inside = np.random.default_rng(0), 0
    interval = measured_interval(199, 0.05, 400)
    for _ in range(1000):
        calibrating, fresh = np.split(random.normal(size=599), [199])
        rate = np.mean(fresh > np.sort(calibrating)[-10])
        inside += bool(interval.low <= rate <= interval.high)
    assert 880 <= inside <= 950


def test_the_interval_of_many_tested_rows_is_that_of_the_calibration_alone() -> None:
    measured, promised = measured_interval(1999, 0.01, 1_000_000), false_alarm_interval(1999, 0.01)
    assert measured.low == pytest.approx(promised.low, rel=0.01)
    assert measured.high == pytest.approx(promised.high, rel=0.01)


@pytest.mark.parametrize(
    ("ordinary", "sizes"),
    [
        pytest.param(596, None, id="too few"),
        pytest.param(597, Sizes(199, 199, 199, 0.05), id="for 5 %"),
        pytest.param(2997, Sizes(512, 999, 999, 0.01), id="for 1 %"),
        pytest.param(100_000, Sizes(512, 1999, 2000, 0.01), id="at most"),
    ],
)
def test_a_split_is_as_large_as_its_budget_needs(ordinary: int, sizes: Sizes | None) -> None:
    assert Sizes.of(ordinary) == sizes


@pytest.mark.parametrize(
    ("low", "high", "word"), [(14, 14, "met"), (29, 0, "fewer"), (0, 29, "SHORT"), (15, 15, "SHORT")]
)
def test_fewer_alarms_are_told_from_more(low: int, high: int, word: str) -> None:
    rates = (0.0,) * low + (0.5,) * high + (0.05,) * (200 - low - high)
    line = Alarms("table", "knn", Sizes(1, 199, 100, 0.05), Interval(0.01, 0.1), rates).line()
    assert line[-4:] == (str(200 - low - high), str(high), str(low), word)


def test_false_alarms_are_measured_by_what_fit_runs() -> None:
    measured = false_alarms("some", "mahalanobis", _rows(700), Sizes(199, 199, 300, 0.05), splits=3)
    assert len(measured.rates) == 3
    assert all(0 <= rate < 0.2 for rate in measured.rates)


def test_adbenchs_splits_leave_outliers_out_of_the_fit(tmp_path: Path) -> None:
    write_adbench([_labelled(100, 7)], 2, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["some.0.npz", "some.1.npz"]
    split = np.load(tmp_path / "some.1.npz")
    assert split["fit"].shape == (60, 4)
    assert split["truth"].sum() == 7
    assert abs(split["fit"]).max() < 5 < split["test"][split["truth"]].mean()


def test_kdds_splits_have_the_notebooks_shares_of_attacks(tmp_path: Path) -> None:
    write_kdd(_labelled(72_000, 300), 1, tmp_path)
    notebook, others = (np.load(tmp_path / "few" / f"{name}.0.npz") for name in ("notebook", "others"))
    assert notebook["truth"].shape == (1, 2, 1000)
    assert others["truth"].sum(axis=2).tolist() == [[50, 100]] * PAIRS
    assert others["test"].shape == (PAIRS * 2000 + 10_000, 4)


def test_streams_are_scored_from_a_blank_start() -> None:
    events = _rows(400).reshape(2, 2, 100, 4)
    split = {"test": np.concatenate([events.reshape(-1, 4), _rows(5)]), "streams": np.array(events.shape[:3])}
    scores = score("mahalanobis-online", {"n_components": 2, "start_clip": 20}, split)
    assert len(scores) == 405
    assert np.isnan(scores[-5:]).all()
    assert np.isnan(scores[[0, 200]]).all()
    assert np.isfinite(scores[100:200]).all()


@pytest.mark.parametrize(
    ("ours", "theirs", "said"),
    [
        (Quality(0.9, 0.5), Quality(0.9004, 0.5), "met"),
        (Quality(0.9, 0.5), Quality(0.901, 0.5), "LOWER: AUC"),
        (Quality(0.9, 0.5), Quality(0.95, 0.6), "LOWER: AUC and AP"),
        (Quality(0.9, 0.5), None, ""),
    ],
)
def test_a_mean_is_held_against_pyods(ours: Quality, theirs: Quality | None, said: str) -> None:
    assert verdict(ours, theirs) == said


def test_a_table_goes_between_its_markers() -> None:
    grid = Grid(("kind", "F1"), (("knn", number(0.5, 2)), ("lof", number(None))), "a note")
    text = grid.markdown()
    assert text == "| kind | F1 |\n| --- | ---: |\n| knn | 0.50 |\n| lof | - |\n\na note\n"
    document = "before\n<!-- table: a -->\nold\n<!-- end -->\nafter <!-- end -->"
    assert insert(document, "a", text) == f"before\n<!-- table: a -->\n{text}<!-- end -->\nafter <!-- end -->"
    assert insert(insert(document, "a", text), "a", "") == "before\n<!-- table: a -->\n<!-- end -->\nafter <!-- end -->"
    with pytest.raises(SystemExit, match="no place for table 'b'"):
        insert(document, "b", text)


def test_bodies_are_v1_payloads_of_so_many_rows(tmp_path: Path) -> None:
    for bodies in write_bodies(_rows(50), tmp_path):
        assert np.array(json.loads(bodies.first())["instances"]).shape == (bodies.rows, 4)


def _weights(features: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    shapes = {"encoder.0": (features, 5), "mean": (5, 2), "log_variance": (5, 2), "decoder.0": (2, 5)}
    shapes["decoder.1"] = (5, features)
    parts = {f"{name}.kernel": random.normal(size=shape) for name, shape in shapes.items()}
    parts |= {f"{name}.bias": random.normal(size=shape[1]) for name, shape in shapes.items()}
    return {name: part.astype(np.float32) for name, part in parts.items()}


def test_a_vae_of_given_weights_computes_with_them() -> None:
    rows, weights = _rows(6), _weights(4)
    hidden = np.maximum(rows @ weights["encoder.0.kernel"] + weights["encoder.0.bias"], 0)
    mean, spread = (hidden @ weights[f"{name}.kernel"] + weights[f"{name}.bias"] for name in ("mean", "log_variance"))
    noise = np.random.default_rng(0).standard_normal((5, 2), dtype=np.float32)
    latent = mean + np.exp(spread / 2) * noise[:, None, :]
    decoded = np.maximum(latent @ weights["decoder.0.kernel"] + weights["decoder.0.bias"], 0)
    rebuilt = decoded @ weights["decoder.1.kernel"] + weights["decoder.1.bias"]
    wanted = np.square(rows - rebuilt).mean(axis=(0, 2))
    np.testing.assert_allclose(vae_of_weights(weights, rows).score(rows), wanted, rtol=1e-4)


def test_a_forest_of_given_trees_scores_as_scikit_learns() -> None:
    rows = _rows(300)
    forest = IsolationForest(n_estimators=7, max_samples=64, random_state=0).fit(rows)
    trees = [each.tree_ for each in forest.estimators_]
    fields = ("children_left", "children_right", "feature", "threshold", "n_node_samples")
    arrays = {field: np.concatenate([getattr(tree, field) for tree in trees]) for field in fields}
    arrays |= {"nodes": np.array([tree.node_count for tree in trees]), "max_samples": np.array(64)}
    np.testing.assert_allclose(forest_of_trees(arrays, 4).score(rows), -forest.score_samples(rows), atol=1e-5)


def test_a_saved_detector_takes_rows_as_they_are(tmp_path: Path) -> None:
    rows = 100.0 + _rows(2500)
    detector = vae_untrained(rows)
    judge = RowJudge.of(load_folder(save_calibrated("vae", detector, rows, tmp_path)))
    np.testing.assert_allclose(judge.score(rows[:9]), detector.score(rows[:9]), rtol=1e-6)


def test_rates_are_taken_for_every_size_of_call() -> None:
    seen: set[int] = set()
    found = rates({"counting": lambda rows: seen.add(len(rows))}, _rows(3000))
    assert seen == set(BATCHES)
    assert len(in_process_grid(found).lines[0]) == 1 + len(BATCHES)


def _served(rate: float) -> Served:
    loads = {rows: Load(round(rate), 1.0, 4.0, 40.0) for rows in (1, 256)}
    return Served(loads, 2.0, 2.1, 120.0, 1.0, 10_000)


def test_figures_are_held_against_the_targets() -> None:
    rows = [row for kind in QUOTED for row in rows_of(kind, _served(3000), QUOTED[kind])]
    assert summary(rows).splitlines()[0] == "11 targets met, 0 short, 0 not judged"
    slow = [row for kind in QUOTED for row in rows_of(kind, _served(100), QUOTED[kind])]
    assert "short: iforest, 256 rows an event: rows/s" in summary(slow)
    assert grid(rows, measured=True).columns[3] == "adserver"
    assert "quoted" in grid(rows, measured=False).columns[3] + grid(rows, measured=False).note


def test_what_is_not_there_is_not_measured(tmp_path: Path) -> None:
    assert read_kdd(tmp_path) is None
    assert adbench_files(tmp_path) == []


def test_every_kind_that_pyod_has_is_one_of_ours() -> None:
    from detectors_pyod import MODELS, SEEDED, SILENT

    assert set(MODELS) <= set(ROW_KINDS)
    assert set(SEEDED) | set(SILENT) <= set(MODELS)
