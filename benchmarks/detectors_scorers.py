"""Has many scorers run, two at a time, each a process in the environment that it needs; tells how far they are.

Invariant: a scorer that fails, or whose environment is absent, harms no other; what it left out is told.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from detectors_data import Matrix
from rich.progress import Progress, TaskID

from wayside.detectors.kinds.registry import ROW_KINDS

_HERE = Path(__file__).parent
_ENVIRONMENTS = _HERE.parent / ".venvs"
OURS, PYOD = "Wayside", "PyOD"
NEURAL = ("autoencoder", "vae")
FOREIGN = ("alibi",)  # a kind that fits nothing
_AT_A_TIME = 2
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}


@dataclass(frozen=True, slots=True)
class Scorer:
    """One kind of one house. `options` are those that are not at their defaults."""

    house: str
    kind: str
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"{self.kind} ({self.house})"

    @property
    def python(self) -> Path:
        if self.house == PYOD:
            return _ENVIRONMENTS / "pyod" / "bin" / "python"
        return _ENVIRONMENTS / "keras" / "bin" / "python" if self.kind in NEURAL else Path(sys.executable)

    def command(self, splits: Path, out: Path) -> tuple[str, ...]:
        script = _HERE / ("detectors_pyod.py" if self.house == PYOD else "detectors_scores.py")
        return (str(self.python), str(script), str(splits), str(out), self.kind, json.dumps(self.options))


def row_kinds(neural: bool) -> list[str]:
    """Our kinds that fit on rows and score them."""
    left_out = FOREIGN if neural else (*FOREIGN, *NEURAL)
    return [kind for kind in ROW_KINDS if kind not in left_out]


def beside_pyod(kinds: Sequence[str]) -> list[Scorer]:
    """Each kind, and PyOD's of the same method."""
    return [Scorer(house, kind) for house in (OURS, PYOD) for kind in kinds]


@dataclass(frozen=True, slots=True)
class Scores:
    """What scorers gave, by scorer's name and split's; and a line for each that could not be run."""

    by_split: Mapping[tuple[str, str], Matrix]
    failures: tuple[str, ...]

    def of(self, house: str, kind: str, split: str) -> Matrix | None:
        return self.by_split.get((Scorer(house, kind).name, split))


def run_scorers(scorers: Sequence[Scorer], splits: Path, out: Path, progress: Progress) -> Scores:
    """Have each of them score every split of the folder."""
    total = len(list(splits.glob("*.npz")))
    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        bars = [progress.add_task(scorer.name, total=total, start=False) for scorer in scorers]
        runs = [pool.submit(_run, *each, splits, out, progress) for each in zip(scorers, bars, strict=True)]
        failures = tuple(line for run in runs if (line := run.result()))
    found = {
        (scorer.name, path.stem): np.nan_to_num(np.load(path), nan=np.inf)  # no score is the largest
        for scorer in scorers
        for path in (out / scorer.name).glob("*.npy")
    }
    return Scores(found, failures)


def _run(scorer: Scorer, bar: TaskID, splits: Path, out: Path, progress: Progress) -> str:
    """One scorer to its end; a line where it failed."""
    if not scorer.python.exists():
        progress.update(bar, visible=False)
        return (
            f"{scorer.name} is not measured: there is no {scorer.python.parents[1].name} environment, see scripts/setup"
        )
    progress.start_task(bar)
    complaints = out / f"{scorer.name}.err"
    out.mkdir(parents=True, exist_ok=True)
    command, environ = scorer.command(splits, out / scorer.name), os.environ | _ONE_THREAD
    with (
        complaints.open("w") as errors,
        subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
    ):
        for _ in process.stdout or ():
            progress.advance(bar)
    progress.update(bar, visible=False)
    return "" if process.returncode == 0 else f"{scorer.name} failed: {_last_line(complaints)}"


def _last_line(file: Path) -> str:
    return file.read_text().strip().rpartition("\n")[2]
