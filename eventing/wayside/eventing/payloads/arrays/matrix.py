"""Rows as numbers, for the detectors: one row of features for each row of a payload.

Invariant: features stand where the detector was fitted on them. By position where the protocol has one nameless tensor;
by name where it has several: the order in which a client sends its columns never moves a feature.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wayside.eventing.errors import MalformedPayload
from wayside.eventing.payloads.arrays.columns import to_array
from wayside.eventing.payloads.datatypes import EXACT_LIMIT
from wayside.eventing.payloads.payload import Column, Datatype, Payload

_NAMES_SHOWN = 8


def to_matrix(payload: Payload, features: int | None = None, names: Sequence[str] | None = None) -> NDArray[np.float64]:
    """The rows as float64 of shape (rows, features), a fresh array; a row of several dimensions is flattened row-major.

    `names` selects and orders: columns, or the features of a single column. A single tensor that names no feature is
    taken by position, as the model takes it. Values that are not finite, and NaN for null, stay, to be judged.

    Raises `MalformedPayload` where there is no row or no value, a column is not numeric, float64 would round an
    integer, a name is missing, several columns come without `names`, or the width is not `features`.
    """
    if not payload.rows:
        raise MalformedPayload("payload has no rows")
    parts = _selected(payload, names)
    matrix = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)
    if not matrix.size:
        raise MalformedPayload("rows hold no value")
    if features is not None and matrix.shape[1] != features:
        raise MalformedPayload(f"rows have {matrix.shape[1]} features, the detector was fitted on {features}")
    return matrix


def _selected(payload: Payload, names: Sequence[str] | None) -> list[NDArray[np.float64]]:
    """The features in order, in parts of shape (rows, some)."""
    single = payload.columns[0] if len(payload.columns) == 1 else None
    if names is None:
        if single is None:
            raise MalformedPayload(f"payload has {len(payload.columns)} columns, and no names to order them by are set")
        return [_numbers(single)]
    if single is not None and single.features:
        return [_numbers(single)[:, _positions(single.features, names)]]
    if single is not None and single.name not in names:
        return [_by_position(single, names)]
    columns = {column.name: column for column in payload.columns}
    _check_present(names, list(columns))
    return [_numbers(columns[name]) for name in names]


def _positions(features: Sequence[str], names: Sequence[str]) -> list[int]:
    if len(set(features)) < len(features):
        raise MalformedPayload("two features share a name")
    _check_present(names, features)
    return [features.index(name) for name in names]


def _check_present(names: Sequence[str], present: Sequence[str]) -> None:
    missing = [name for name in names if name not in set(present)]
    if missing:
        seen = ", ".join(repr(name[:32]) for name in present[:_NAMES_SHOWN])
        more = ", …" if len(present) > _NAMES_SHOWN else ""
        raise MalformedPayload(f"payload has no feature {missing[0]!r}: it has {seen}{more}")


def _by_position(column: Column, names: Sequence[str]) -> NDArray[np.float64]:
    matrix = _numbers(column)
    if matrix.shape[1] != len(names):
        raise MalformedPayload(f"rows have {matrix.shape[1]} features without names, the detector has {len(names)}")
    return matrix


def _numbers(column: Column) -> NDArray[np.float64]:
    """A numeric column as float64 of shape (rows, values a row)."""
    if 0 in column.shape:
        return np.empty((column.shape[0], 0))
    if column.datatype in (Datatype.JSON, Datatype.BYTES):
        why = column.note or f"it is {column.datatype}"
        raise MalformedPayload(f"column {column.name[:64]!r} is not numeric: {why}")
    array = to_array(column)
    _check_exact(array, column)
    return array.astype(np.float64).reshape(len(array), -1)


def _check_exact(array: NDArray[Any], column: Column) -> None:
    """Refuse an integer that float64 would round: 2^53 + 1 is the first."""
    if array.dtype.itemsize < 8 or array.dtype.kind not in "iu":
        return
    if int(array.max()) <= EXACT_LIMIT and int(array.min()) >= -EXACT_LIMIT:
        return
    for row, values in enumerate(array.reshape(len(array), -1).tolist()):
        for value in values:
            if int(float(value)) != value:
                raise MalformedPayload(f"column {column.name[:64]!r}, row {row}: float64 would round {value}")
