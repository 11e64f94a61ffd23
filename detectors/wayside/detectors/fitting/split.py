"""Which rows fit, which calibrate, and which test what came of it.

Invariant: no row is in two parts, none that is labelled an outlier fits or calibrates, and the parts follow from the
seed alone; a stateful kind's parts follow each other in the order of the rows, as its stream of events will.
"""

from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray

from wayside.detectors.scoring.calibration import LEAST_EXPECTED_ALARMS, alarm_rank, rows_needed
from wayside.detectors.tabular.table import Table
from wayside.eventing.errors import ConfigurationError

Places = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Shares:
    """`holdout` of the rows calibrate. Where rows are labelled, `test` of the ordinary ones are set aside before."""

    holdout: float = 0.5
    test: float = 0.2

    def __post_init__(self) -> None:
        if not 0 < self.holdout < 1:
            raise ConfigurationError(f"holdout is {self.holdout:g}: give a number between 0 and 1")
        if not 0 <= self.test < 1:
            raise ConfigurationError(f"the test share is {self.test:g}: give 0, or a number below 1")


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """The places of rows in the table. `testing` holds the labelled outliers too, and is empty without labels."""

    fitting: Places
    calibrating: Places
    testing: Places


def split(table: Table, shares: Shares, alpha: float, seed: int, *, in_order: bool, all_calibrate: bool) -> Split:
    """Raises `ConfigurationError` where too few rows would calibrate for `alpha`, naming how many are needed."""
    ordinary = np.arange(len(table)) if table.labels is None else np.flatnonzero(~table.labels)
    tested = 0 if table.labels is None else round(len(ordinary) * shares.test)
    left = len(ordinary) - tested
    held_out = left if all_calibrate else round(left * shares.holdout)
    if alarm_rank(held_out, alpha) < LEAST_EXPECTED_ALARMS:
        raise ConfigurationError(_too_few(held_out, alpha, len(ordinary), held_out / max(len(ordinary), 1)))
    if in_order:
        parts = np.split(ordinary, [left - held_out, left])
        return Split(parts[0], parts[1], _with_outliers(parts[2], table, tested))
    order = ordinary[np.random.default_rng(seed).permutation(len(ordinary))]
    return Split(order[held_out:left], order[:held_out], _with_outliers(order[left:], table, tested))


def _with_outliers(places: Places, table: Table, tested: int) -> Places:
    if table.labels is None or not tested:
        return places[:0]
    return np.sort(np.concatenate([places, np.flatnonzero(table.labels)]))


def _too_few(held_out: int, alpha: float, rows: int, share: float) -> str:
    needed = rows_needed(alpha)
    total = max(ceil(needed / share) if share else 0, rows + 1)
    return (
        f"{held_out} calibration rows are too few for a false-alarm rate of {alpha:g}: {needed} are needed, which is"
        f" about {total} ordinary rows in all; give more rows or a larger --false-alarm-rate"
    )
