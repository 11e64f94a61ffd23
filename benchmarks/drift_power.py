"""What drift tests see of real drift: power at one true level, and rows until the first alarm, beside alibi-detect's.

Invariant: all tests are given the same references and windows, and each is held to the level that it really has on
windows without drift: the threshold is a quantile of its own p-values there, ties by its statistic.
"""

import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from drift_data import Drifted, Matrix, Population
from drift_null import Case, Fitted

from wayside.detectors.kinds.protocol import Sample

LEVEL = 0.05
WINDOW, REFERENCE_ROWS = 100, 2000
ALIBI_REFERENCE_ROWS = 500  # its permutations take seconds with more
PEERS: Mapping[str, str] = {
    "ks": "KSDrift",
    "cvm": "CVMDrift",
    "mmd": "MMDDrift",
    "lsdd": "LSDDDrift",
    "classifier": "ClassifierDrift",
}
_ALIBI = Path(__file__).parents[1] / ".venvs" / "alibi" / "bin" / "python"
_SCRIPT = Path(__file__).with_name("drift_alibi.py")


@dataclass(frozen=True, slots=True)
class Depth:
    """How much is measured: draws of a reference, windows without drift and with it."""

    draws: int = 10
    calm: int = 100
    drifted: int = 40


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """A reference (m, d), and windows (k, n, d) of which the first `calm` are without drift."""

    reference: Matrix
    windows: Matrix
    calm: int

    def save(self, path: Path) -> None:
        np.savez(path, reference=self.reference, windows=self.windows, calm=self.calm)

    @classmethod
    def read(cls, path: Path) -> "Trial":
        with np.load(path, allow_pickle=False) as arrays:
            return cls(arrays["reference"], arrays["windows"], int(arrays["calm"]))


@dataclass(frozen=True, slots=True)
class Found:
    """Power at the true level, median delay in rows, and how many windows were judged."""

    power: float
    delay_rows: float
    windows: int


def trials(stream: Drifted, depth: Depth, reference_rows: int) -> Iterator[Trial]:
    """References and windows of a stream; those of another size of reference share their windows."""
    for draw in range(depth.draws):
        rng = np.random.default_rng(draw)
        order = rng.permutation(len(stream.before))
        calm = stream.before[order[: depth.calm * WINDOW]].reshape(depth.calm, WINDOW, -1)
        kept = order[depth.calm * WINDOW :][:reference_rows]
        after = stream.after[rng.permutation(len(stream.after))[: depth.drifted * WINDOW]]
        drifted = after.reshape(depth.drifted, WINDOW, -1)
        yield Trial(stream.before[kept], np.concatenate([calm, drifted]), depth.calm)


def ours(kind: str, trial: Trial) -> Matrix:
    """p-value and statistic a window, shape (k, 2)."""
    case = Case(kind, "", window=WINDOW, level=LEVEL)
    population = Population.of_numbers("", trial.reference)
    fitted = Fitted.of(case, population, trial.reference, 0)
    said = []
    for rows in trial.windows:
        sample = Sample.untimed(fitted.prepare(rows))
        test = fitted.detector.test(sample)  # a sequential one from its first memory on
        said.append((test.p_value, test.statistic))
    return np.array(said)


def theirs(peer: str, found: Sequence[Trial], folder: Path) -> list[Matrix] | None:
    """What alibi-detect's test says of the same; None where its environment is not there."""
    if not _ALIBI.exists():
        return None
    folder.mkdir()
    for number, trial in enumerate(found):
        trial.save(folder / f"{number:03}.npz")
    subprocess.run([_ALIBI, _SCRIPT, peer, folder], check=True, stdout=sys.stderr)
    return [np.load(folder / f"{number:03}.{peer}.npy") for number in range(len(found))]


def summarise(said: Sequence[Matrix], calm: int) -> Found:
    """From p-values and statistics of each trial's windows."""
    detected, delays, windows = [], [], 0
    for each in said:
        before, after = each[:calm], each[calm:]
        worst = np.lexsort((-before[:, 1], before[:, 0]))[int(LEVEL * calm) - 1]
        p_value, statistic = before[worst]
        seen = (after[:, 0] < p_value) | ((after[:, 0] == p_value) & (after[:, 1] >= statistic))
        detected.append(seen.mean())
        delays.append((int(np.argmax(seen)) + 1) * WINDOW if seen.any() else (len(seen) + 1) * WINDOW)
        windows += len(each)
    return Found(float(np.mean(detected)), float(np.median(delays)), windows)
