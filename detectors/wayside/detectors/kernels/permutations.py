"""Random regroupings of two samples, and the p-value of the one that was observed.

Source: Phipson and Smyth, "Permutation p-values should never be zero", Stat. Appl. Genet. Mol. Biol. 9 (2010);
Knijnenburg et al., "Fewer permutations, more accurate p-values", Bioinformatics 25 (2009), for the fitted tail.
Invariant: the regroupings follow from a seed and the samples' bytes alone; the first is the one that was observed, so
that it is measured by the very same arithmetic as the others.
"""

import hashlib

import numpy as np
from numpy.typing import NDArray

from wayside.detectors.kernels.arithmetic import Floats
from wayside.detectors.kernels.tails import Tail
from wayside.detectors.kinds.protocol import Matrix, Vector
from wayside.eventing.errors import ConfigurationError

_EQUAL = 1e-5  # of the statistics' own spread: what float32 sums leave between equal ones


def seed_of(seed: int, *samples: Matrix) -> int:
    """A seed for these samples, the same wherever they come again."""
    digest = hashlib.blake2b(seed.to_bytes(16, "little"), digest_size=16)
    for sample in samples:
        digest.update(repr(sample.shape).encode())
        digest.update(np.ascontiguousarray(sample, np.float64).tobytes())
    return int.from_bytes(digest.digest(), "little")


def regroupings(sizes: tuple[int, int], count: int, seed: int, strata: NDArray[np.int64] | None = None) -> Floats:
    """Who is in the second sample: 0 or 1, shape (m + n, count + 1), the first column as observed.

    Where `strata` (m + n,) are given, rows change places only with rows of their own stratum.
    """
    random = np.random.default_rng(seed)
    observed = np.repeat(np.array([0.0, 1.0], np.float32), sizes)
    members = np.empty((len(observed), count + 1), np.float32)
    members[:, 0] = observed
    groups = [np.arange(len(observed))] if strata is None else _groups(strata)
    for group in groups:
        places = np.argsort(random.random((count, len(group)), dtype=np.float32), axis=1)
        members[group, 1:] = observed[group][places].T
    return members


def permutation_p_value(statistics: Vector) -> float:
    """(1 + #{others ≥ the first}) / (their number + 1)."""
    others = statistics[1:]
    slack = _EQUAL * float(others.std()) if len(others) else 0.0
    return (1 + int((others >= statistics[0] - slack).sum())) / len(statistics)


def extended_p_value(statistics: Vector) -> float:
    """The same, and below what so many can tell, the tail that is fitted to them; never below `tails.LEAST`."""
    counted = permutation_p_value(statistics)
    return min(counted, Tail.of(statistics[1:]).p_value(float(statistics[0]))) if counted < 0.02 else counted


def check_permutations(permutations: int, level: float) -> None:
    """Raises `ConfigurationError` where 1 / (permutations + 1) is above the level: it says how many are needed."""
    needed = int(np.ceil(1.0 / level)) - 1
    if permutations < needed:
        raise ConfigurationError(
            f"{permutations} permutations tell no p-value below {1 / (permutations + 1):.2g}, and a window's level is"
            f" {level:.2g}: that needs permutations={needed}, or null=calibrated, which fits the tail"
        )


def _groups(strata: NDArray[np.int64]) -> list[NDArray[np.intp]]:
    return [np.flatnonzero(strata == each) for each in np.unique(strata)]
