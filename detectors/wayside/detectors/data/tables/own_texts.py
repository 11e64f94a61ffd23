"""Columns of texts that are no categories: numbers of rows, times, and numbers with decimal commas.

Invariant: what is refused was not declared a category; a table of a few rows says nothing about its columns.
"""

from collections.abc import Collection

import numpy as np

from wayside.detectors.tabular.table import Table
from wayside.eventing.errors import ConfigurationError

_FEWEST_ROWS = 100
_MOST_SHARE = 0.5


def check_categories(table: Table, declared: Collection[str], where: str) -> None:
    """Raises `ConfigurationError` for a column in which more than half of the rows have a text that no other row has,
    unless it is declared a category: each such text would be a feature of its own."""
    if len(table) < _FEWEST_ROWS:
        return
    for at, texts in sorted(table.categories.items()):
        name, codes = table.known_as[at], table.values[:, at]
        counts = np.bincount(codes[~np.isnan(codes)].astype(np.intp), minlength=len(texts))
        own = int((counts == 1).sum())
        if name not in declared and own > _MOST_SHARE * len(table):
            raise ConfigurationError(
                f"{where}, column {name[:64]!r}: {own} of {len(table)} rows have a text of their own, as"
                f" {texts[int(np.argmin(counts))][:32]!r}: choose other columns with --columns, write numbers with"
                " points, or say with --category that it is a category"
            )
