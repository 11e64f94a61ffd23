"""JSON values as a column of a declared type and shape: they fit, or they are refused by their place.

Source: Open Inference Protocol, "Tensor Data" and "Tensor Data Types"; KServe's SDK, MLServer and Triton, which read
flat and nested data alike; KServe's samples for TorchServe, which write a shape of -1 or [] for "as the data is".
Invariant: a column has as many values as its shape has places, each of its datatype.
"""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from math import prod
from types import MappingProxyType, NoneType
from typing import Any, Final

from wayside.eventing.errors import MalformedPayload
from wayside.eventing.payloads.datatypes import FLOATS, INTEGER_RANGES, SIZE_LIMIT, check_shape
from wayside.eventing.payloads.payload import Block, Column, Datatype, FlatList, Limits, NumberBlock, Tree
from wayside.eventing.payloads.tensors import Leaves, bytes_held, is_b64, json_column, unnest

_TYPES: Final[Mapping[Datatype, tuple[type, ...]]] = MappingProxyType(
    {datatype: (int,) for datatype in INTEGER_RANGES}
    | {datatype: (int, float, NoneType) for datatype in FLOATS}
    | {Datatype.BOOL: (bool, int), Datatype.BYTES: (str, NoneType, dict)}
)
_FROM_DATA: Final[Sequence[object]] = (None, -1, [], [-1])
_RANGES: Final[Mapping[Datatype, range]] = MappingProxyType({**INTEGER_RANGES, Datatype.BOOL: range(2)})
_OCTETS: Final = range(256)
_SHOWN_CHARACTERS: Final = 32


def typed_column(
    name: str, datatype: Datatype, shape: object, data: Tree, limits: Limits, content_type: str | None = None
) -> Column:
    """The column of a tensor. `shape` is as it was sent; where it is null, -1 or [] the data gives it.

    A bare value is a tensor of one. BYTES take text, `{"b64": …}`, and the octets of one file as a flat list of
    integers; of other objects the column is JSON. Raises `MalformedPayload` with the place in the data.
    """
    if isinstance(data, NumberBlock):
        return _block_column(name, datatype, shape, data, limits)
    leaves = unnest(data if isinstance(data, list) else [data], limits)
    if datatype is Datatype.BYTES:
        return _bytes_column(name, shape, leaves, limits, content_type)
    found = resolved_shape(shape, leaves.shape, limits)
    check_values(leaves.items, datatype, found)
    return Column(name, datatype, found, FlatList(leaves.items))


def _block_column(name: str, datatype: Datatype, shape: object, block: NumberBlock, limits: Limits) -> Column:
    if datatype is Datatype.BYTES:
        return _bytes_column(name, shape, unnest(block.tolist(), limits), limits, None)
    found = resolved_shape(shape, block.shape, limits)
    if datatype not in FLOATS and not _fits(block, datatype):
        check_values(unnest(block.tolist(), limits).items, datatype, found)  # and it names the place
    return Column(name, datatype, found, Block(block))


def _fits(block: NumberBlock, datatype: Datatype) -> bool:
    """Whether a block holds integers alone, and each within an integer type."""
    return block.datatype is not Datatype.FP64 and all(bound in _RANGES[datatype] for bound in block.bounds)


def _bytes_column(name: str, shape: object, leaves: Leaves, limits: Limits, content_type: str | None) -> Column:
    if leaves.items and set(map(type, leaves.items)) == {int}:
        return _file_column(name, shape, leaves)
    found = resolved_shape(shape, leaves.shape, limits)
    check_values(leaves.items, Datatype.BYTES, found)
    objects = [item for item in leaves.items if isinstance(item, dict)]
    values = FlatList(leaves.items)
    if not all(map(is_b64, objects)):
        return json_column(name, values.row_values(found), "declared as BYTES, but holds objects")
    if objects and any(isinstance(item, str) for item in leaves.items):
        raise MalformedPayload("data mixes text with 'b64' objects")
    if objects or content_type is None:
        content_type = bytes_held(leaves)
    return Column(name, Datatype.BYTES, found, values, content_type=content_type)


def _file_column(name: str, shape: object, leaves: Leaves) -> Column:
    """A file, octet by octet, as TorchServe's samples send one: a single element."""
    if len(leaves.shape) > 1 or not all(item in _OCTETS for item in leaves.items):
        check_values(leaves.items, Datatype.INT64, leaves.shape)
        raise MalformedPayload("data holds integers, and BYTES take text")
    octets = bytes(leaves.items)
    if shape not in (*_FROM_DATA, [1], [1, 1], [len(octets)], [1, len(octets)]):
        raise MalformedPayload(f"{len(octets)} octets of one element do not fill shape {str(shape)[:64]}")
    element = Leaves((1,), [{"b64": b64encode(octets).decode()}])
    return Column(name, Datatype.BYTES, (1,), FlatList(element.items), content_type=bytes_held(element))


def resolved_shape(declared: object, found: Sequence[int], limits: Limits) -> tuple[int, ...]:
    """The shape as declared, one size of -1 being told by the data; that of the data where none is.

    Raises `MalformedPayload` where it is no shape, costs more than `limits`, or the data does not fill it.
    """
    count = prod(found)
    shape = tuple(found) if declared in _FROM_DATA else _sizes(declared, count)
    check_shape(shape, limits)
    if prod(shape) != count:
        held = f"{count} value{'s' * (count != 1)} do not fill" if count else "there is no data for"
        raise MalformedPayload(f"{held} shape {list(shape)}, which needs {prod(shape)}")
    return shape


def _sizes(declared: object, count: int) -> tuple[int, ...]:
    sizes: list[Any] = declared if isinstance(declared, list) else [declared]
    if not all(type(size) is int and -1 <= size <= SIZE_LIMIT for size in sizes):
        raise MalformedPayload(f"shape {str(declared)[:64]} is no list of sizes")
    if sizes.count(-1) != 1:
        return tuple(sizes)
    others = prod(size for size in sizes if size != -1)
    if others <= 0 or count % others:
        raise MalformedPayload(f"{count} values do not fill shape {str(declared)[:64]}")
    return tuple(count // others if size == -1 else size for size in sizes)


def check_values(items: Sequence[Any], datatype: Datatype, shape: Sequence[int]) -> None:
    """Raise `MalformedPayload` for the first value that is none of `datatype`, by its index."""
    wrong = set(map(type, items)).difference(_TYPES[datatype])
    if wrong:
        at = next(at for at, item in enumerate(items) if type(item) in wrong)
        raise MalformedPayload(f"{_shown(items[at])} at {_index(at, shape)} is no {datatype}")
    bounds = _RANGES.get(datatype)
    if bounds is not None and items and not (min(items) in bounds and max(items) in bounds):
        at = next(at for at, item in enumerate(items) if item not in bounds)
        raise MalformedPayload(f"{_shown(items[at])} at {_index(at, shape)} is beyond {datatype}")
    if datatype in FLOATS:
        _check_finite_integers(items, datatype, shape)


def _check_finite_integers(items: Sequence[Any], datatype: Datatype, shape: Sequence[int]) -> None:
    for at, item in enumerate(items):
        if type(item) is int and item.bit_length() > 1023:
            raise MalformedPayload(f"{_shown(item)} at {_index(at, shape)} is beyond {datatype}")


def _shown(value: Any) -> str:
    text = repr(value) if isinstance(value, str) else "null" if value is None else str(value)
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 1] + "…"


def _index(at: int, shape: Sequence[int]) -> list[int]:
    index: list[int] = []
    for size in reversed(shape):
        at, place = divmod(at, size)
        index.append(place)
    return index[::-1]
