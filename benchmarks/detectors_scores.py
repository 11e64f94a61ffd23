"""Scores of one of Wayside's kinds on every split of a folder. Run by .venv's Python, or .venvs/keras's.

Usage: detectors_scores.py FOLDER OUT KIND OPTIONS: OPTIONS is a JSON object of the kind's options. A split is
an archive with `fit` (n, d), `test` (m, d), `seed`, and where rows come as streams of events their numbers, `streams`:
(streams, events, rows). A stateful kind starts blank on streams, as alibi-detect's notebook has it.
Invariant: what is written for a split follows from it alone; a line is printed when it is done.
"""

import json
import sys
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from wayside.detectors.fitting.kind_options import options_of
from wayside.detectors.kinds.mahalanobis_online import Moments, OnlineMahalanobis, OnlineOptions
from wayside.detectors.kinds.protocol import Execution, FitContext, Matrix, Vector
from wayside.detectors.kinds.registry import STATEFUL_KINDS, row_detector

_STEP_ROWS = 2048


def main() -> None:
    folder, out, kind, options = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], json.loads(sys.argv[4])
    out.mkdir(parents=True, exist_ok=True)
    for path in sorted(folder.glob("*.npz")):
        with np.load(path, allow_pickle=False) as split:
            scores = score(kind, options, dict(split))
        np.save(out / f"{path.stem}.npy", scores)
        print(path.stem, flush=True)


def score(kind: str, options: dict[str, Any], split: dict[str, Any]) -> Vector:
    """Scores of the test rows by a detector that was fitted, kept and restored, as a service does it."""
    known = options_of(kind, options)
    if kind in STATEFUL_KINDS and "streams" in split:
        return stream(known, split["test"], split["streams"].tolist())
    fitted = row_detector(kind).fit(split["fit"], known, FitContext(seed=int(split["seed"])))
    detector = type(fitted).restore(fitted.state(), Execution())
    steps = range(0, len(split["test"]), _STEP_ROWS)
    return np.concatenate([detector.score(split["test"][at : at + _STEP_ROWS]) for at in steps])


def stream(options: OnlineOptions, rows: Matrix, shape: list[int]) -> Vector:
    """Scores of events in their order, NaN for rows that belong to no stream; every stream starts blank."""
    detector = OnlineMahalanobis(options, Moments.blank(rows.shape[1]))
    scores: list[Vector] = []
    for events in rows[: prod(shape)].reshape(*shape, -1):
        memory = detector.memory()
        for event in events:
            judged, memory = detector.advance(memory, event)
            scores.append(judged)
    return np.concatenate([*scores, np.full(len(rows) - prod(shape), np.nan)])


if __name__ == "__main__":
    main()
