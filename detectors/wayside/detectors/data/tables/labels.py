"""Which rows are outliers: from a column of the data, or from a file beside it.

Invariant: every row has a label or the data is refused; nothing is guessed about what a label means.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from wayside.detectors.data.tables.builder import number_text
from wayside.detectors.kinds.protocol import Array
from wayside.detectors.tabular.table import Table
from wayside.eventing.errors import ConfigurationError

_MEANINGS = {"0": False, "1": True, "false": False, "true": True, "False": False, "True": True}
_SILENT = ("", "nan")  # what programs write for a label that is missing
_SHOWN = 6


def take_label(table: Table, column: str, ordinary: frozenset[str]) -> Table:
    """The table with a column of it as labels. Raises `ConfigurationError` that names the first row without one."""
    at = table.position(column)
    others = [name for name in table.known_as if name != column]
    if not others:
        raise ConfigurationError(f"the data has no column but the label {column[:64]!r}")
    labels = labels_of_column(table, at, f"column {column[:64]!r}", ordinary)
    return replace(table.select(others), labels=labels)


def labels_of_column(table: Table, at: int, where: str, ordinary: frozenset[str]) -> NDArray[np.bool_]:
    """The labels in a column of a table. Raises `ConfigurationError`."""
    values = table.values[:, at]
    missing = np.flatnonzero(np.isnan(values))
    if len(missing):
        raise ConfigurationError(f"{where}: row {missing[0]} has no label: leave such rows out")
    texts, codes = _texts_of(table, at)
    return _meanings(texts, ordinary, where)[codes]


def labels_of(values: Array, where: str, ordinary: frozenset[str]) -> NDArray[np.bool_]:
    """The labels in an array of numbers, truths or texts. Raises `ConfigurationError`."""
    flat = values.reshape(-1)
    if flat.dtype.kind not in "biufU" or values.size != len(values):
        raise ConfigurationError(f"{where} is no list of labels: it holds {values.dtype} of shape {values.shape}")
    if flat.dtype.kind == "f" and np.isnan(flat).any():
        raise ConfigurationError(f"{where}: row {np.flatnonzero(np.isnan(flat))[0]} has no label")
    found, codes = np.unique(flat, return_inverse=True)
    texts = [each if isinstance(each, str) else number_text(float(each)) for each in found.tolist()]
    return _meanings(texts, ordinary, where)[codes]


def _texts_of(table: Table, at: int) -> tuple[Sequence[str], NDArray[np.intp]]:
    values = table.values[:, at]
    if at in table.categories:
        return table.categories[at], values.astype(np.intp)
    found, codes = np.unique(values, return_inverse=True)
    return [number_text(value) for value in found.tolist()], codes


def _meanings(texts: Sequence[str], ordinary: frozenset[str], where: str) -> NDArray[np.bool_]:
    """Whether each text means an outlier."""
    silent = [text for text in texts if text.strip().lower() in _SILENT and text not in ordinary]
    if silent:
        raise ConfigurationError(f"{where} has the label {silent[0]!r}, which says nothing: leave such rows out")
    if ordinary:
        unseen = ordinary - set(texts)
        if unseen:
            raise ConfigurationError(f"no row has the label {min(unseen)[:64]!r} in {where}: it has {_show(texts)}")
        return np.array([text not in ordinary for text in texts])
    unknown = [text for text in texts if text not in _MEANINGS]
    if unknown:
        raise ConfigurationError(
            f"{where} has the labels {_show(texts)}: 0 is ordinary and 1 an outlier; say which others are ordinary with"
            " --ordinary VALUE"
        )
    return np.array([_MEANINGS[text] for text in texts])


def _show(texts: Sequence[str]) -> str:
    return f"{', '.join(text[:32] for text in texts[:_SHOWN])}{', …' if len(texts) > _SHOWN else ''}"
