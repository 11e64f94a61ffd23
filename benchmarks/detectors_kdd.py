"""KDDCup99 as alibi-detect's notebooks have it: F1 by a threshold from a batch of which 5 % are attacks.

Source: SeldonIO/alibi-detect doc/source/examples/od_{vae,mahalanobis,if}_kddcup.ipynb, alibi_detect/utils/data.py: fit
on ordinary connections, scaled; the threshold is the 95th percentile of the scores of 1 000 connections with 5 % of
attacks; F1 on 1 000 with 10 %. The online detector starts blank there, and here.
Invariant: the split `notebook` has the very rows that the notebooks' seeds draw, some of which were fitted on; in every
other split no row that is judged was fitted on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np
from detectors_data import Labelled, Mask, Matrix
from detectors_document import Grid, number
from detectors_scorers import OURS, Scorer, Scores
from numpy.typing import NDArray
from sklearn.metrics import f1_score, roc_auc_score

from wayside.detectors.kinds.registry import STATEFUL_KINDS
from wayside.detectors.scoring.calibration import Calibration, quantise
from wayside.detectors.tabular.preprocessing import Preprocessing
from wayside.detectors.tabular.schema import Schema

ALPHA = 0.01
PAIRS = 10  # of batches, in a split that is not the notebooks'
_BATCH_ROWS = 1000
_SHARES = (0.05, 0.10)  # of attacks: in the batch that the threshold comes from, and in the one that is judged
_CALIBRATING = 10_000
_FITTED = 60_000
_FITTED_NOTEBOOK = 100_000
_NEIGHBOURS, _OF_NEIGHBOURS = 10_000, ("knn", "lof")  # which keep what they are fitted on
_OPTIONS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {"mahalanobis-online": {"n_components": 2, "std_clip": 3.0, "start_clip": 20}}
)
TARGETS: Mapping[str, float] = MappingProxyType({"vae": 0.975, "mahalanobis": 0.969, "mahalanobis-online": 0.969})
NOTEBOOKS: Mapping[str, float] = MappingProxyType({"vae": 0.975, "mahalanobis-online": 0.969, "iforest": 0.328})


class _Draws(Protocol):
    """What NumPy's older and newer generators have in common."""

    def choice(self, a: int, size: int, replace: bool) -> NDArray[np.intp]: ...


def write_splits(kdd: Labelled, seeds: int, folder: Path) -> None:
    """Splits as detectors_scores.py reads them: in FOLDER/many, and with fewer rows to fit on in FOLDER/few."""
    for size in ("many", "few"):
        (folder / size).mkdir(parents=True)
    for seed in range(seeds):
        for name, split in (("notebook", _notebook(kdd, seed)), ("others", _others(kdd, seed))):
            np.savez(folder / "many" / f"{name}.{seed}.npz", **split)
            np.savez(folder / "few" / f"{name}.{seed}.npz", **{**split, "fit": split["fit"][:_NEIGHBOURS]})


def _notebook(kdd: Labelled, seed: int) -> dict[str, Any]:
    """The notebooks' rows, which their own seeds draw; `seed` is the fit's."""
    fitted, _ = _batch(kdd, _FITTED_NOTEBOOK, 0.0, np.random.RandomState(0))
    random = (np.random.RandomState(0), np.random.RandomState(1))
    batches = [_batch(kdd, _BATCH_ROWS, share, each) for share, each in zip(_SHARES, random, strict=True)]
    return _prepared(fitted, batches, fitted[:0], seed)


def _others(kdd: Labelled, seed: int) -> dict[str, Any]:
    """Other batches, and rows that calibrate, none of them fitted on."""
    random = np.random.default_rng(seed)
    fitted, calibrating, fresh = np.split(random.permutation(kdd.ordinary), [_FITTED, _FITTED + _CALIBRATING])
    left = Labelled(kdd.name, *_joined(fresh, kdd.outliers))
    batches = [_batch(left, _BATCH_ROWS, share, random) for _ in range(PAIRS) for share in _SHARES]
    return _prepared(fitted, batches, calibrating, seed)


def _joined(ordinary: Matrix, outliers: Matrix) -> tuple[Matrix, Mask]:
    rows = np.concatenate([ordinary, outliers])
    return rows, np.arange(len(rows)) >= len(ordinary)


def _batch(kdd: Labelled, count: int, share: float, random: _Draws) -> tuple[Matrix, Mask]:
    """Rows with a share of attacks, drawn in the order in which `create_outlier_batch` draws."""
    attacks = int(share * count)
    parts = [_sample(rows, size, random) for rows, size in ((kdd.ordinary, count - attacks), (kdd.outliers, attacks))]
    rows, truth = _joined(parts[0], parts[1])
    order = random.choice(count, count, replace=False)
    return rows[order], truth[order]


def _sample(rows: Matrix, count: int, random: _Draws) -> Matrix:
    return rows[random.choice(len(rows), count, replace=count > len(rows))]


def _prepared(fitted: Matrix, batches: Sequence[tuple[Matrix, Mask]], calibrating: Matrix, seed: int) -> dict[str, Any]:
    """`test` holds the batches, a threshold's and a judged one in turn, and then the rows that calibrate."""
    preprocessing = Preprocessing.fit(Schema.of_width(fitted.shape[1]), fitted)
    rows = np.concatenate([*(rows for rows, _ in batches), calibrating])
    return {
        "fit": preprocessing.apply(fitted),
        "test": preprocessing.apply(rows),
        "truth": np.concatenate([truth for _, truth in batches]).reshape(-1, len(_SHARES), _BATCH_ROWS),
        "streams": np.array([len(batches) // len(_SHARES), len(_SHARES), _BATCH_ROWS]),
        "seed": np.array(seed),
    }


def scorers(kinds: Sequence[str], size: str) -> list[Scorer]:
    """Those that are fitted on `few` rows, or on `many`."""
    chosen = [kind for kind in kinds if (kind in _OF_NEIGHBOURS) == (size == "few")]
    return [Scorer(OURS, kind, _OPTIONS.get(kind, {})) for kind in chosen]


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one pair of batches. `calibrated` is F1 by our own threshold for ALPHA, where there were calibration rows."""

    f1: float
    auc: float
    calibrated: float | None


def grid(kinds: Sequence[str], folder: Path, scores: Mapping[str, Scores]) -> Grid:
    """A line a kind that was scored."""
    columns = (
        "kind",
        "F1",
        "alibi-detect's",
        "target",
        "",
        "F1, other batches",
        "lowest to highest",
        "ROC-AUC",
        "F1 at 1 %",
    )
    lines: list[tuple[str, ...]] = []
    for kind in kinds:
        size = "few" if kind in _OF_NEIGHBOURS else "many"
        notebook = _measure(kind, folder / size, scores[size], "notebook")
        others = _measure(kind, folder / size, scores[size], "others")
        if notebook and others:
            lines.append(_line(kind, notebook, others))
    return Grid(columns, tuple(lines))


def _line(kind: str, notebook: Sequence[Figures], others: Sequence[Figures]) -> tuple[str, ...]:
    target, middle = TARGETS.get(kind), _median([each.f1 for each in notebook])
    asked = ("", "") if target is None else (f"≥ {target:.3f}", "met" if round(middle, 3) >= target else "SHORT")
    f1 = [each.f1 for each in others]
    calibrated = [each.calibrated for each in others if each.calibrated is not None]
    return (
        kind,
        number(middle, 3),
        number(NOTEBOOKS.get(kind), 3),
        *asked,
        number(_median(f1), 3),
        f"{min(f1):.3f} to {max(f1):.3f}",
        number(_median([each.auc for each in others]), 3),
        number(_median(calibrated) if calibrated else None, 3),
    )


def _median(values: Sequence[float]) -> float:
    return float(np.median(values))


def _measure(kind: str, folder: Path, scores: Scores, name: str) -> list[Figures]:
    """Of each pair of batches in the splits of this name."""
    found: list[Figures] = []
    for path in sorted(folder.glob(f"{name}.*.npz")):
        given = scores.of(OURS, kind, path.stem)
        if given is None:
            continue
        truth = np.load(path)["truth"]
        judged, held_out = np.split(given, [truth.size])
        usable = len(held_out) and kind not in STATEFUL_KINDS
        calibration = Calibration.of(held_out, ALPHA) if usable else None
        pairs = zip(judged.reshape(truth.shape), truth, strict=True)
        found += [_figures(pair, labels, calibration) for pair, labels in pairs]
    return found


def _figures(pair: Matrix, truth: Mask, calibration: Calibration | None) -> Figures:
    """By scores and labels of shape (2, rows): the threshold's batch, and the one that is judged."""
    finite = pair[0][np.isfinite(pair[0])]  # what starts blank cannot judge its first rows
    flagged = pair[1] > np.percentile(finite, 100 * (1 - _SHARES[0]))
    calibrated = None
    if calibration is not None:
        alarms = calibration.decisions(calibration.p_values(quantise(pair[1])))
        calibrated = float(f1_score(truth[1], alarms))
    return Figures(
        float(f1_score(truth[1], flagged)), float(roc_auc_score(truth[1], np.nan_to_num(pair[1]))), calibrated
    )
