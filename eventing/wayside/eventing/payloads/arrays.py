"""Rows as arrays, for the detectors. Needs the extra `arrays`.

Invariant: a matrix has one row a payload row, in order; values that are not finite stay as they are, to be judged.
"""

from typing import TYPE_CHECKING

from wayside.eventing.errors import MalformedEvent, MissingExtra

try:
    import numpy as np
except ImportError as exc:
    raise MissingExtra("numpy", "arrays") from exc

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from wayside.eventing.payloads.protocols import Rows


def to_matrix(rows: "Rows", features: int | None = None) -> "NDArray[np.float64]":
    """The rows as float64 of shape (rows, features); nested rows are flattened in row-major order.

    Raises `MalformedEvent` where there is no row, rows are ragged or not numeric, or the width is not `features`.
    """
    if not rows.rows:
        raise MalformedEvent("payload has no rows")
    try:
        array = np.asarray(rows.rows)
    except ValueError as exc:
        raise MalformedEvent("rows are ragged: every row needs the same shape") from exc
    except OverflowError as exc:
        raise MalformedEvent("rows hold an integer that no float can hold") from exc
    if array.dtype.kind not in "biuf":
        raise MalformedEvent("rows are not numeric")
    if not array.size:
        raise MalformedEvent("rows hold no value")
    matrix = array.astype(np.float64).reshape(len(rows.rows), -1)
    if features is not None and matrix.shape[1] != features:
        raise MalformedEvent(f"rows have {matrix.shape[1]} features, the detector was fitted on {features}")
    return matrix
