"""When rows were: from a column of the data.

Invariant: every row has a time or the data is refused; a column of times is no feature.
"""

from dataclasses import replace

import numpy as np

from wayside.detectors.tabular.table import Table
from wayside.eventing.errors import ConfigurationError


def take_time(table: Table, column: str) -> Table:
    """The table with a column of it, seconds since the epoch, as its times. Raises `ConfigurationError`."""
    at = table.position(column)
    others = [name for name in table.known_as if name != column]
    if not others:
        raise ConfigurationError(f"the data has no column but the time {column[:64]!r}")
    times = table.values[:, at]
    missing = np.flatnonzero(~np.isfinite(times))
    if len(missing):
        raise ConfigurationError(f"column {column[:64]!r}: row {missing[0]} has no time: leave such rows out")
    return replace(table.select(others), time_s=times.copy())
