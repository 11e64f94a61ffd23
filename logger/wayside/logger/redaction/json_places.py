"""Where rules hit in a JSON document: members and elements by pointer, columns by name.

Source: RFC 6901; V1's rows and TensorFlow Serving's columns, V2's tensors, Seldon's `names`, pandas' split frames.
Invariant: a column is looked for wherever it could stand. Where it may be hidden in a form that is not read here, that
is said by `MalformedPayload`, never passed over.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from math import prod
from typing import Any, Final

from wayside.eventing.errors import MalformedPayload
from wayside.eventing.payloads.payload import Datatype
from wayside.logger.redaction.json_edits import Edits, inside, put
from wayside.logger.redaction.residue import Residue
from wayside.logger.redaction.rules import EVERY, Rules, Tokens
from wayside.logger.settings import Redacted

_NOTHING: Final = "null"  # an array's element that is dropped: its neighbours keep their positions
_STRUCTURE: Final = frozenset({"name", "shape", "datatype", "parameters", "data"})
# Which member names the columns of which others beside it: Seldon's messages, and pandas' orientation `split`.
_TABLES: Final = (("names", ("ndarray", "tensor", "tftensor")), ("columns", ("data",)))


def find(tree: Any, rules: Rules, residue: Residue) -> Edits:
    """The edits that the rules ask for; empty where nothing is found.

    Raises `MalformedPayload` where a column's name is there and its values are in a form that is not read.
    """
    edits: Edits = {}
    for each in rules.bodies:
        for tokens in each.pointers:
            _point(tree, tokens, edits, each.left, residue)
        if each.columns:
            _Columns(each.columns, each.left, residue).search(tree, edits)
    return edits


def reaches(tokens: Tokens, path: Sequence[str | int]) -> bool:
    """Whether a pointer finds the value at `path`, or what holds it, or what is within it."""
    return all(token in (EVERY, str(key)) for token, key in zip(tokens, path, strict=False))


def _point(value: Any, tokens: Tokens, edits: Edits, left: Redacted, residue: Residue) -> None:
    rest = tokens[1:]
    for key in _keys(value, tokens[0]):
        child = value[key]
        if not rest:
            nothing = None if isinstance(value, dict) else _NOTHING
            put(edits, key, nothing if left is Redacted.DROP else residue.text(left, child))
        elif isinstance(child, dict | list):
            _descend(edits, key, partial(_point, child, rest, left=left, residue=residue))


def _keys(value: Any, token: str) -> Sequence[Any]:
    """The members or elements that a pointer's token finds."""
    if isinstance(value, dict):
        return list(value) if token == EVERY else [token] if token in value else []
    if not isinstance(value, list):
        return []
    if token == EVERY:
        return range(len(value))
    is_index = token.isascii() and token.isdigit() and (token == "0" or token[0] != "0") and len(token) < 10
    return [int(token)] if is_index and int(token) < len(value) else []


def _descend(edits: Edits, key: str | int, search: Callable[..., None]) -> None:
    """Search inside a value, unless it is replaced already."""
    inner = edits.get(key, {})
    if isinstance(inner, dict):
        search(edits=inner)
        if inner:
            edits[key] = inner


class _Columns:
    """The search for columns of some names, of which the same is left."""

    def __init__(self, names: frozenset[str], left: Redacted, residue: Residue) -> None:
        self._names = names
        self._left = left
        self._residue = residue

    def search(self, value: Any, edits: Edits) -> None:
        if isinstance(value, dict):
            self._search_object(value, edits)
        elif isinstance(value, list):
            for at, element in enumerate(value):
                if not isinstance(element, dict | list):
                    continue
                if self._drops(element):
                    put(edits, at, None)
                else:
                    _descend(edits, at, partial(self.search, element))

    def _search_object(self, value: Mapping[str, Any], edits: Edits) -> None:
        if self._names_tensor(value) and _holds_values(value):
            self._replace_tensor(value, edits)
        if "names" in value or "columns" in value:
            self._search_table(value, edits)
        for name, member in value.items():
            if name in self._names and not (name in _STRUCTURE and is_tensor(value)):
                put(edits, name, self._spread(member))
            elif isinstance(member, dict | list):
                _descend(edits, name, partial(self.search, member))

    def _spread(self, value: Any) -> str | None:
        return None if self._left is Redacted.DROP else self._residue.spread(self._left, value)

    def _entry(self, value: Any) -> str:
        return self._spread(value) or _NOTHING

    # V2's tensors

    def _names_tensor(self, value: Mapping[str, Any]) -> bool:
        name = value.get("name")
        return isinstance(name, str) and name in self._names

    def _drops(self, element: Any) -> bool:
        """Whether an element is a tensor that goes whole."""
        is_named = self._left is Redacted.DROP and is_tensor(element) and self._names_tensor(element)
        return is_named and _holds_values(element)

    def _replace_tensor(self, tensor: Mapping[str, Any], edits: Edits) -> None:
        put(edits, "data", self._spread(tensor["data"]))
        if self._left is not Redacted.DROP:
            retype(tensor, edits)

    # names beside rows

    def _search_table(self, value: Mapping[str, Any], edits: Edits) -> None:
        for heading, bodies in _TABLES:
            names = value.get(heading)
            if not isinstance(names, list):
                continue
            places = [at for at, name in enumerate(names) if self._is_named(name)]
            tables = [body for body in bodies if body in value]
            if places and not tables:
                raise MalformedPayload("a column is named, and its values are not beside its name")
            for body in tables if places else ():
                self._replace_entries(value[body], _entries(value[body], places, len(names)), edits, body)

    def _is_named(self, name: Any) -> bool:
        """Raises `MalformedPayload` for a name of several levels, as pandas' MultiIndex has, of which one is ours."""
        if isinstance(name, list) and any(isinstance(level, str) and level in self._names for level in name):
            raise MalformedPayload("a column is named on one of several levels")
        return isinstance(name, str) and name in self._names

    def _replace_entries(self, table: Any, paths: Iterator[tuple[str | int, int]], edits: Edits, body: str) -> None:
        for outer, at in paths:
            inner = inside(edits, body, outer)
            if inner is not None:
                put(inner, at, self._entry(table[outer][at]))


def _entries(table: Any, places: Sequence[int], width: int) -> Iterator[tuple[str | int, int]]:
    """Where the named entries of each row are, as two keys; none in rows that are objects, which say their own names.

    Raises `MalformedPayload` where that cannot be told.
    """
    if isinstance(table, list) and all(isinstance(row, dict) for row in table):
        return
    if isinstance(table, list) and all(isinstance(row, list) and len(row) == width for row in table):
        yield from ((row, at) for row in range(len(table)) for at in places)
        return
    shape, values = (table.get("shape"), table.get("values")) if isinstance(table, dict) else (None, None)
    if not isinstance(values, list) or not _is_table(shape, width, len(values)):
        raise MalformedPayload("a column is named, and where its values are cannot be told")
    yield from (("values", row + at) for row in range(0, len(values), width) for at in places)


def _is_table(shape: Any, width: int, count: int) -> bool:
    """Whether a shape is of so many values in rows of one width."""
    if not isinstance(shape, list) or not all(type(size) is int for size in shape):
        return False
    return shape[1:] == [width] and prod(shape) == count


def is_tensor(value: Any) -> bool:
    """Whether a value is surely V2's tensor, and its members no columns."""
    if not isinstance(value, dict) or "shape" not in value or not isinstance(value.get("name"), str):
        return False
    datatype = value.get("datatype")
    return isinstance(datatype, str) and datatype.upper() in Datatype.__members__


def _holds_values(tensor: Mapping[str, Any]) -> bool:
    """Whether a tensor's values are in its `data`; not where they are behind the document, or elsewhere for good.

    Raises `MalformedPayload` where they are in gRPC's JSON form, which is not edited.
    """
    if tensor.get("contents") is not None:
        raise MalformedPayload("a tensor's values are in a form that is not redacted")
    if tensor.get("data") is not None:
        return True
    parameters = tensor.get("parameters")
    if isinstance(parameters, dict) and not parameters.keys().isdisjoint({"binary_data_size", "shared_memory_region"}):
        return False
    if is_tensor(tensor):
        raise MalformedPayload("a tensor's values are in a form that is not redacted")
    return False


def retype(tensor: Mapping[str, Any], edits: Edits) -> None:
    """Texts stand for a tensor's values now: it is of BYTES, and no content type says how to read them."""
    if "datatype" in tensor:
        put(edits, "datatype", '"BYTES"')
    parameters = tensor.get("parameters")
    if isinstance(parameters, dict) and "content_type" in parameters:
        inner = inside(edits, "parameters")
        if inner is not None:
            put(inner, "content_type", None)
