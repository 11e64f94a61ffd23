"""A column as one numpy array, of the type that its tensor declares.

Source: Open Inference Protocol's datatypes, MLServer's content types for what BYTES hold.
Invariant: the array has the column's shape, and every value is the one that the model got: an integer is never rounded
nor wrapped; a float is rounded to the declared type as the model's own server rounds it; null is NaN, and no integer.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from math import prod
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from wayside.eventing.errors import MalformedPayload
from wayside.eventing.payloads import content_types
from wayside.eventing.payloads.arrays.json_blocks import ArrayBlock
from wayside.eventing.payloads.datatypes import FLOATS, INTEGER_RANGES, Packed
from wayside.eventing.payloads.payload import Block, Column, Datatype, FlatList, flatten

DTYPES: Final[Mapping[Datatype, np.dtype[Any]]] = MappingProxyType(
    {Datatype.BOOL: np.dtype(np.bool_), Datatype.BF16: np.dtype(np.float32)}
    | {Datatype(f"FP{bits}"): np.dtype(f"f{bits // 8}") for bits in (16, 32, 64)}
    | {Datatype(f"INT{bits}"): np.dtype(f"i{bits // 8}") for bits in (8, 16, 32, 64)}
    | {Datatype(f"UINT{bits}"): np.dtype(f"u{bits // 8}") for bits in (8, 16, 32, 64)}
)
"""What a datatype's arrays hold. numpy has no bfloat16; float32 holds each of its values exactly."""

_RANGES: Final = {**INTEGER_RANGES, Datatype.BOOL: range(2)}
# What lists become before they are cast: BOOL as it comes, since numpy takes anything for true or false.
_FIRST: Final = dict.fromkeys(FLOATS, np.dtype(np.float64)) | {Datatype.BOOL: None}
_ZERO: Final = timedelta(0)
_YEARS: Final = range(1678, 2262)  # whole years within datetime64[ns]


def to_array(column: Column) -> NDArray[Any]:
    """The values as an array of the column's shape, which may share memory with the column: read it only.

    Numbers and BOOL have the dtype in `DTYPES`. BYTES are str objects; bytes objects where their content type is base64
    or a media type; datetime64[ns] (UTC; NaT for null) where it is `datetime`. None stays None in objects.
    Raises `MalformedPayload` for a JSON column, and for a value that is none of the datatype, by its place.
    """
    if column.datatype is Datatype.JSON:
        raise MalformedPayload(f"{_place(column)} is no tensor: {column.note or 'its values differ in type or shape'}")
    if column.datatype is Datatype.BYTES:
        return _elements(column).reshape(column.shape)
    if 0 in column.shape:
        return np.empty(column.shape, DTYPES[column.datatype])
    match column.values:
        case Packed(data, datatype):
            array = _unpacked(data, datatype)
        case Block(ArrayBlock() as block):
            array = _cast(block.array, column)
        case FlatList(items):
            array = _of_list(items, column)
        case values:
            array = _of_list(values.row_values(column.shape), column)
    return array.reshape(column.shape)


def _place(column: Column) -> str:
    return f"column {column.name[:64]!r}"


def _unpacked(data: bytes | memoryview, datatype: Datatype) -> NDArray[Any]:
    if datatype is Datatype.BF16:
        upper_half = np.frombuffer(data, "<u2").astype(np.uint32)
        return (upper_half << 16).view(np.float32)
    if datatype is Datatype.BOOL:
        return np.frombuffer(data, np.uint8).astype(np.bool_)
    return np.frombuffer(data, DTYPES[datatype].newbyteorder("<")).astype(DTYPES[datatype], copy=False)


def _of_list(items: Any, column: Column) -> NDArray[Any]:
    """Lists of JSON numbers as an array. Integers go straight to their type: numpy would guess float for some."""
    first = _FIRST.get(column.datatype, DTYPES[column.datatype])
    try:
        array = np.array(items, first)
    except OverflowError as exc:
        raise _beyond(items, column) from exc
    except (ValueError, TypeError) as exc:
        raise MalformedPayload(f"{_place(column)}: not every value is {column.datatype}") from exc
    return _cast(array, column)


def _cast(array: NDArray[Any], column: Column) -> NDArray[Any]:
    """An array of JSON's numbers or booleans as the declared type, checked."""
    if array.dtype.kind not in ("biuf" if column.datatype in FLOATS else "biu"):
        raise MalformedPayload(f"{_place(column)}: not every value is {column.datatype}")
    bounds = _RANGES.get(column.datatype)
    if bounds is not None and not (int(array.min()) in bounds and int(array.max()) in bounds):
        raise _beyond(array.tolist(), column)
    dtype = DTYPES[column.datatype]
    if array.dtype == dtype:
        return array
    with np.errstate(over="ignore"):  # FP32 of 1e300 is infinite, as the model has it
        return array.astype(dtype)


def _beyond(items: Any, column: Column) -> MalformedPayload:
    """The refusal that names the first integer out of its type's range, and where it stands."""
    bounds = _RANGES.get(column.datatype, range(0))
    at, value = next((at, value) for at, value in enumerate(flatten(items)) if value not in bounds)
    index = [int(place) for place in np.unravel_index(at, column.shape)]
    return MalformedPayload(f"{_place(column)}: {str(value)[:32]} at {index} is beyond {column.datatype}")


def _elements(column: Column) -> NDArray[Any]:
    """What BYTES hold, one after another."""
    flat = _flat(column)
    if column.content_type == "datetime":
        return _moments(flat)
    is_binary = "/" in (column.content_type or "") or column.content_type == content_types.BASE64
    elements = content_types.byte_values(flat) if is_binary else content_types.texts(flat)
    array = np.empty(len(elements), np.object_)
    array[:] = elements
    return array


def _flat(column: Column) -> Column:
    """The column with each element as a row of its own."""
    values = column.values if isinstance(column.values, Packed) else FlatList(flatten(column.row_values()))
    return replace(column, shape=(prod(column.shape),), values=values, features=())


def _moments(column: Column) -> NDArray[np.datetime64]:
    """ISO 8601 texts as nanoseconds UTC; without a time zone they are UTC already."""
    moments = content_types.datetimes(column)
    for row, moment in enumerate(moments):
        if moment is not None and moment.year not in _YEARS:
            raise MalformedPayload(
                f"{_place(column)}: row {row} is beyond datetime64[ns] ({_YEARS[0]} to {_YEARS[-1]})"
            )
    utc = [
        None if moment is None else moment.replace(tzinfo=None) - (moment.utcoffset() or _ZERO) for moment in moments
    ]
    return np.array(utc, "datetime64[us]").astype("datetime64[ns]")
