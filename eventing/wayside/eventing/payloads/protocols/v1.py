"""V1: KServe's and TensorFlow Serving's JSON, rows or columns.

Source: KServe's "V1 Protocol"; TensorFlow Serving's "RESTful API" (rows and columns, classify, regress); KServe's
`get_predict_input`, whose frame servers read an entry of `inputs` as a data frame.
Invariant: rows are in the order of the batch; a name is a sender's, or the column is nameless and bears its member's.
"""

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any, Final

from wayside.eventing.errors import MalformedPayload
from wayside.eventing.payloads.payload import Kind, Limits, NumberBlock, Payload, Protocol, Tree
from wayside.eventing.payloads.protocols.members import rows_member, type_word
from wayside.eventing.payloads.rows import Table, table_of
from wayside.eventing.payloads.tensors import columns_of, is_b64, plain, row_count

_REQUESTS: Final = ("instances", "inputs", "examples")
_RESPONSES: Final = ("predictions", "outputs", "explanations", "results")
_MEMBERS: Final = frozenset((*_REQUESTS, *_RESPONSES))
_IN_COLUMNS: Final = ("inputs", "outputs", "predictions")


def claims(tree: Tree) -> bool:
    """Whether a document has a member of V1's. `results` alone is one: re-rankers have it too, as objects."""
    if not isinstance(tree, dict):
        return False
    results = tree.get("results")
    if isinstance(results, list) and results and isinstance(results[0], dict):
        return False
    return not tree.keys().isdisjoint(_MEMBERS)


def read(tree: Tree, kind: Kind | None, limits: Limits) -> Payload:
    """The payload of a V1 document. Raises `MalformedPayload` with the member, and the column or the row."""
    told, member = rows_member(tree, kind, Protocol.V1, _REQUESTS, _RESPONSES)
    if member == "predictions" and not tree[member] and tree.get("explanations"):
        member = "explanations"  # an explainer need not predict
    try:
        table = _table(member, tree[member], limits)
        return Payload(Protocol.V1, told, table.columns, table.named)
    except MalformedPayload as exc:
        raise MalformedPayload(f"{member!r}: {exc}") from exc


def _table(member: str, value: Tree, limits: Limits) -> Table:
    if isinstance(value, NumberBlock):
        return table_of(member, value, limits)
    if isinstance(value, list):
        return _of_list(member, value, limits)
    if is_b64(value) or (member in _IN_COLUMNS and isinstance(value, str)):  # Hugging Face's servers take and give one
        return table_of(member, [value], limits)
    if member not in _IN_COLUMNS or not isinstance(value, dict):
        raise MalformedPayload(f"it is {type_word(value)}, expected a list of rows")
    if member == "predictions" and not _are_columns(value):
        return table_of(member, [value], limits)
    return _of_columns(value, limits)


def _of_columns(columns: Mapping[str, Tree], limits: Limits) -> Table:
    """TensorFlow Serving's columns: a tensor for each name, each with one entry a row."""
    if not columns:
        raise MalformedPayload("it is an empty object")
    for name, values in columns.items():
        if not isinstance(values, list | NumberBlock):
            raise MalformedPayload(f"column {name[:64]!r} is {type_word(values)}, and needs a list of one entry a row")
    return Table(columns_of(columns.items(), limits), named=True)


def _are_columns(value: Mapping[str, Tree]) -> bool:
    """Whether an object's members are lists of one length."""
    if not value or not all(isinstance(each, list | NumberBlock) for each in value.values()):
        return False
    return len({row_count(each) for each in value.values()}) == 1


def _of_list(member: str, rows: Sequence[Tree], limits: Limits) -> Table:
    if member == "inputs" and rows and all(isinstance(row, dict) and _are_columns(row) for row in rows):
        return _of_columns(rows[0], limits) if len(rows) == 1 else table_of(member, _concatenated(rows), limits)
    if rows and all(map(_has_parts, rows)):
        return table_of(member, _merged(rows), limits)
    return table_of(member, rows, limits)


def _has_parts(row: Tree) -> bool:
    """Whether a row is a list of objects."""
    return isinstance(row, list) and set(map(type, row)) == {dict}


def _concatenated(frames: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rows of data frames sent as columns, one frame after the other."""
    return [
        dict(zip(frame, values, strict=True))
        for frame in frames
        for values in zip(*(plain(column) for column in frame.values()), strict=True)
    ]


def _merged(rows: Sequence[Sequence[dict[str, Any]]]) -> Sequence[Any]:
    """Rows that are lists of objects: parts of one row where no name comes twice, records where all have one set."""
    if all(len(set(chain.from_iterable(parts))) == sum(map(len, parts)) for parts in rows):
        return [{name: value for part in parts for name, value in part.items()} for parts in rows]
    records = list(chain.from_iterable(rows))
    return records if all(record.keys() == records[0].keys() for record in records) else rows
