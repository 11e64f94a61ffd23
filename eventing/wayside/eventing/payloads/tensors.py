"""JSON values as columns: which shape and type nested lists have, or why they are no tensor.

Source: our own table of decisions (docs/payloads.md); datatypes are the Open Inference Protocol's.
Invariant: no value is changed, and none is rounded to fit a type: a column that no type holds exactly is JSON, and its
note says why. Lists and number blocks give the same column. Time is linear in the values, nothing recurses into them.
"""

from base64 import b64decode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from math import prod
from types import NoneType
from typing import Any, Final, NamedTuple

from wayside.eventing.errors import MalformedPayload
from wayside.eventing.payloads import images
from wayside.eventing.payloads.content_types import BASE64
from wayside.eventing.payloads.datatypes import EXACT_LIMIT, INTEGER_RANGES
from wayside.eventing.payloads.payload import Block, Column, Datatype, FlatList, Limits, NumberBlock, Tree, Values

_B64: Final = {"b64"}
_IMAGE_STARTS: Final = ("iVBORw0KGgo", "/9j/")  # PNG's and JPEG's first bytes in base64
_NUMBERS: Final = {int, float}
_JSON_TYPES: Final = {NoneType, bool, int, float, str, list, dict}
_WORDS: Final = {bool: "true/false", str: "text", dict: "objects", list: "lists", int: "numbers", float: "numbers"}


class Leaves(NamedTuple):
    """Rectangular nested lists, unnested: their sizes, and their values in row-major order."""

    shape: tuple[int, ...]
    items: Sequence[Any]


@dataclass(frozen=True, slots=True)
class TreeRows(Values):
    """One JSON value a row, in which number blocks may still be; they become lists when somebody asks."""

    items: Sequence[Tree]

    def row_values(self, shape: Sequence[int]) -> list[Any]:
        return [plain(item) for item in self.items]


def plain(value: Tree) -> Any:
    """The value without number blocks. It recurses as deep as the loader let the document be."""
    if isinstance(value, NumberBlock):
        return value.tolist()
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    return value


def json_column(name: str, rows: Sequence[Tree], note: str | None = None) -> Column:
    """A column of JSON values that are no tensor."""
    return Column(name, Datatype.JSON, (len(rows),), TreeRows(rows), note=note)


def column_of(name: str, rows: Sequence[Tree] | NumberBlock, limits: Limits) -> Column:
    """The column whose rows are `rows`, typed by its values: BOOL, INT64, UINT64, FP64, BYTES, or else JSON.

    Text and `{"b64": …}` are BYTES. Null is a missing value in FP64 and in BYTES. Raises `MalformedPayload` for more
    rows than the limit, and for base64 that is none.
    """
    check_rows(rows, limits)
    if isinstance(rows, NumberBlock):
        return Column(name, rows.datatype, rows.shape, Block(rows))
    if len(rows) == 1 and isinstance(rows[0], NumberBlock):
        return Column(name, rows[0].datatype, (1, *rows[0].shape), Block(rows[0]))
    try:
        leaves = unnest(rows, limits)
        datatype = datatype_of(leaves.items)
    except MalformedPayload as exc:
        return json_column(name, rows, str(exc))
    content_type = bytes_held(leaves) if datatype is Datatype.BYTES else None
    return Column(name, datatype, leaves.shape, FlatList(leaves.items), content_type=content_type)


def row_count(rows: Sequence[Tree] | NumberBlock) -> int:
    return rows.shape[0] if isinstance(rows, NumberBlock) else len(rows)


def check_rows(rows: Sequence[Tree] | NumberBlock, limits: Limits) -> None:
    """Raise `MalformedPayload` where there are more rows than the limit."""
    count = row_count(rows)
    if count > limits.rows:
        raise MalformedPayload(f"payload has {count} rows, the limit is {limits.rows}")


def unnest(rows: Sequence[Tree], limits: Limits) -> Leaves:
    """The values within nested lists, level by level. Raises `MalformedPayload` where lists at one level differ."""
    sizes, items = [len(rows)], rows
    while True:
        types = set(map(type, items))
        if not types <= _JSON_TYPES:
            items = [item.tolist() if isinstance(item, NumberBlock) else item for item in items]
            types = set(map(type, items))
        if list not in types:
            return Leaves(tuple(sizes), items)
        if len(types) > 1:
            raise MalformedPayload(f"rows are ragged: {_differing(items, sizes[0], _type_name)}")
        lengths = set(map(len, items))
        if len(lengths) > 1:
            raise MalformedPayload(f"rows are ragged: {_differing(items, sizes[0], _length)}")
        if len(sizes) == limits.dimensions:
            raise MalformedPayload(f"values have more than {limits.dimensions} dimensions")
        sizes.append(lengths.pop())
        items = list(chain.from_iterable(items))


def _differing(items: Sequence[Any], rows: int, describe: Any) -> str:
    """The first item, and the first that is not like it, by the rows that they stand in."""
    first = describe(items[0])
    at, other = next((at, described) for at, item in enumerate(items) if (described := describe(item)) != first)
    row = at * rows // len(items)
    return f"row 0 {first}, row {row} {other}" if row else f"row 0 holds one part that {first}, and one that {other}"


def _length(item: Sequence[Any]) -> str:
    return f"has {len(item)} value" + "s" * (len(item) != 1)


def _type_name(item: Any) -> str:
    return "is null" if item is None else f"has {_WORDS.get(type(item), 'values')}"


def datatype_of(items: Sequence[Any]) -> Datatype:
    """The type that holds every value exactly. Raises `MalformedPayload` with the note why there is none."""
    types = set(map(type, items))
    has_null = NoneType in types
    types.discard(NoneType)
    if not types:
        raise MalformedPayload("every value is null" if has_null else "there is no value")
    if types <= _NUMBERS:
        return _number_type([item for item in items if item is not None] if has_null else items, types, has_null)
    if types == {str} or (types == {dict} and all(is_b64(item) for item in items if item is not None)):
        return Datatype.BYTES
    if types == {bool} and not has_null:
        return Datatype.BOOL
    raise MalformedPayload(_mixture(types, has_null))


def _number_type(numbers: Sequence[int | float], types: set[type], has_null: bool) -> Datatype:
    if types == {float}:
        return Datatype.FP64
    if types == {int} and not has_null:
        low, high = min(numbers), max(numbers)
        for datatype in (Datatype.INT64, Datatype.UINT64):
            if low in INTEGER_RANGES[datatype] and high in INTEGER_RANGES[datatype]:
                return datatype
        raise MalformedPayload("holds an integer beyond 64 bits")
    if all(map(_is_exact, numbers)):
        return Datatype.FP64
    raise MalformedPayload("holds an integer that float64 would round, beside " + ("null" if has_null else "floats"))


def _is_exact(number: float) -> bool:
    if type(number) is float or -EXACT_LIMIT <= number <= EXACT_LIMIT:
        return True
    try:
        return int(float(number)) == number
    except OverflowError:
        return False


def _mixture(types: set[type], has_null: bool) -> str:
    words = list(dict.fromkeys(word for each, word in _WORDS.items() if each in types)) + ["null"] * has_null
    return f"mixes {' with '.join(words)}" if len(words) > 1 else f"values are {words[0]}"


def is_b64(value: object) -> bool:
    """Whether a value is V1's form of bytes: an object with the text `b64` and nothing else."""
    return type(value) is dict and value.keys() == _B64 and isinstance(value["b64"], str)


def bytes_held(leaves: Leaves) -> str | None:
    """What BYTES hold: of `{"b64": …}` objects, an image's media type where all are of one, else `base64`; of text,
    `base64` where every value is an image so encoded. Raises `MalformedPayload` with the row of what is no base64."""
    items = [item for item in leaves.items if item is not None]
    if not items or isinstance(items[0], str):
        return BASE64 if items and all(map(_is_image_text, items)) else None
    rows, places = leaves.shape[0], prod(leaves.shape)
    seen = {_media_type(item["b64"], at * rows // places) for at, item in enumerate(leaves.items) if item is not None}
    return (seen.pop() if len(seen) == 1 else None) or BASE64


def _media_type(text: str, row: int) -> str | None:
    try:
        head = images.sniff(b64decode(text, validate=True))
    except ValueError as exc:
        raise MalformedPayload(f"row {row}: 'b64' is not base64: {exc}") from exc
    return None if head is None else head.media_type


def _is_image_text(text: str) -> bool:
    if not text.startswith(_IMAGE_STARTS):
        return False
    try:
        return images.sniff(b64decode(text, validate=True)) is not None
    except ValueError:
        return False


def columns_of(named: Iterable[tuple[str, Sequence[Tree] | NumberBlock]], limits: Limits) -> tuple[Column, ...]:
    """A column for each name. Raises `MalformedPayload` as `column_of` does, with the column's name."""
    columns: list[Column] = []
    for name, rows in named:
        if len(columns) == limits.columns:
            raise MalformedPayload(f"payload has more than {limits.columns} columns")
        try:
            columns.append(column_of(name, rows, limits))
        except MalformedPayload as exc:
            raise MalformedPayload(f"column {name[:64]!r}: {exc}") from exc
    return tuple(columns)
