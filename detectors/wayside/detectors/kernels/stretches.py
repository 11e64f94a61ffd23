"""How long the stretches of a reference are whose rows are alike, so that windows are drawn of it by such stretches.

Tests of two samples take rows for independent. Traffic is not: an hour's rows share its weather, a batch's rows their
client. A window then scatters about the reference as one of fewer rows would: by how many is the design effect. It
rises with the size of windows until these are much longer than what makes rows alike.
Source: Künsch, "The jackknife and the bootstrap for general stationary observations", Ann. Statist. 17 (1989), for
windows made of blocks; Kish, "Survey Sampling" (1965), for the design effect; it is taken here of the mean embedding by
an RBF kernel, through random Fourier features (Rahimi and Recht, NIPS 2007). `nulls/dependence.py` has it by column.
Invariant: rows that cannot be told from independent ones have stretches of 1.
"""

import numpy as np

from wayside.detectors.kernels.arithmetic import Floats, median_width
from wayside.detectors.kernels.mmd import near
from wayside.detectors.kinds.protocol import Matrix

_FEATURES = 64
_MOST_ROWS = 50_000  # that are looked at, in windows at even distances
_LEAST_WINDOWS = 4
_ERRORS = 2.5  # standard errors by which longer windows must scatter more
_GAIN = 1.1


def stretch_rows(rows: Matrix, window_rows: int, seed: int) -> int:
    """The rows of a stretch, 1 to `window_rows`, of a reference (m, d) in the order of its time.

    The size from which on windows scatter no more than those of half of it, twice, so that ends matter less.
    """
    windows = min(len(rows) // window_rows, max(_LEAST_WINDOWS, _MOST_ROWS // window_rows))
    if windows < _LEAST_WINDOWS:
        return 1
    starts = np.linspace(0, len(rows) - window_rows, windows).astype(np.intp)
    embedded = _embedded(rows[(starts[:, None] + np.arange(window_rows)).ravel()], seed)
    found, least = 1, 1.0
    for size in _sizes(window_rows):
        effect, error = _effect(embedded.reshape(windows, window_rows, -1), size)
        if effect - _ERRORS * error > _GAIN * least:
            found, least = size, effect
    return min(2 * found, window_rows) if found > 1 else 1


def _embedded(rows: Matrix, seed: int) -> Floats:
    """Random features of each row, (n, 64), about their mean."""
    random = np.random.default_rng([seed, 4])
    some = near(rows, rows.mean(axis=0))
    width = median_width(some[random.permutation(len(some))[:1000]])
    waves = (random.normal(size=(some.shape[1], _FEATURES)) / width).astype(np.float32)
    found = np.cos(some @ waves + random.uniform(0, 2 * np.pi, _FEATURES).astype(np.float32))
    centred: Floats = found - found.mean(axis=0, dtype=np.float64).astype(np.float32)
    return centred


def _sizes(window_rows: int) -> list[int]:
    """The window and its halves down to two rows, in rising order."""
    return [window_rows >> power for power in range(window_rows.bit_length() - 2, -1, -1)]


def _effect(embedded: Floats, size: int) -> tuple[float, float]:
    """The mean squared deviation of parts of `size` rows of windows (w, n, f) over that of independent rows, and its
    standard error."""
    windows, rows, features = embedded.shape
    parts = embedded[:, : rows // size * size].reshape(-1, size, features).mean(axis=1, dtype=np.float64)
    squared = np.einsum("ij,ij->i", parts, parts)
    expected = float(np.einsum("ijk,ijk->", embedded, embedded, dtype=np.float64)) / (windows * rows) / size
    expected *= 1.0 - size / (windows * rows)
    if not expected > 0:
        return 1.0, 0.0
    return float(squared.mean()) / expected, float(squared.std()) / expected / float(np.sqrt(len(squared)))
