"""Seldon Core's own protocol: `SeldonMessage` and `Feedback` as JSON.

Source: SeldonIO/seldon-core, proto/prediction.proto, through ProtoJSON; its Python wrapper, which reads an `ndarray` of
lists and of objects alike and does not check `names` against it.
Invariant: a message has exactly one form of data. A feedback's rows are its truth's, or else its request's.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final

from wayside.eventing.errors import MalformedPayload
from wayside.eventing.payloads.payload import (
    Column,
    Datatype,
    FlatList,
    Kind,
    Limits,
    NumberBlock,
    Payload,
    Protocol,
    Tree,
)
from wayside.eventing.payloads.protocols.members import text, type_word
from wayside.eventing.payloads.protocols.tensor_proto import read_tensor
from wayside.eventing.payloads.rows import Table, table_of
from wayside.eventing.payloads.tensors import column_of, json_column, plain
from wayside.eventing.payloads.typed_tensors import typed_column

_TENSORS: Final = ("tensor", "ndarray", "tftensor")
_MESSAGES: Final = ("request", "response", "truth")
_NON_FINITE: Final = frozenset({"NaN", "Infinity", "-Infinity"})


def claims(tree: Tree) -> bool:
    """Whether a document is a message with data or a failure, or a feedback with a message or a reward in it."""
    return isinstance(tree, dict) and (_is_message(tree) or _is_feedback(tree) or _failure(tree) is not None)


def _is_message(tree: Mapping[str, Tree]) -> bool:
    data = tree.get("data")
    return (isinstance(data, dict) and any(name in data for name in _TENSORS)) or any(name in tree for name in _READERS)


def _is_feedback(tree: Mapping[str, Tree]) -> bool:
    parts = [tree[name] for name in _MESSAGES if isinstance(tree.get(name), dict)]
    return any(_is_message(part) for part in parts) or (bool(parts) and "reward" in tree)


def read(tree: Tree, kind: Kind | None, limits: Limits) -> Payload:
    """The payload of a message or a feedback. A message does not say what it is: without `kind` it is a request.

    Raises `MalformedPayload` with the member.
    """
    if not isinstance(tree, dict):
        raise MalformedPayload(f"a Seldon message is an object, this is {type_word(tree)}")
    if kind is Kind.VERDICT:
        raise MalformedPayload("a Seldon message is no verdict")
    if kind is Kind.FEEDBACK or (kind is None and _is_feedback(tree) and not _is_message(tree)):
        return _read_feedback(tree, limits)
    if not _is_message(tree) and _is_feedback(tree):
        raise MalformedPayload(f"a {kind} was expected, and the body is a feedback")
    table = _message_table(tree, limits)
    return Payload(Protocol.SELDON, kind or Kind.REQUEST, table.columns, table.named, id=_puid(tree))


def _failure(message: Mapping[str, Tree]) -> str | None:
    """What a message says went wrong."""
    status = message.get("status")
    if not isinstance(status, dict) or status.get("status") not in ("FAILURE", 1):
        return None
    return str(status.get("info") or status.get("reason"))[:64]


def _puid(message: Tree) -> str | None:
    meta = message.get("meta") if isinstance(message, dict) else None
    return text(meta.get("puid")) if isinstance(meta, dict) else None


def _message_table(message: Mapping[str, Tree], limits: Limits) -> Table:
    data = message.get("data")
    if isinstance(data, dict) and any(name in data for name in _TENSORS):
        return _data_table(data, limits)
    for name, reader in _READERS.items():
        if name in message:
            return reader(name, message[name], limits)
    failure = _failure(message)
    if failure is not None:
        raise MalformedPayload(f"message has no data, but a failure: {failure!r}")
    raise MalformedPayload(f"message has none of data.{{{', '.join(_TENSORS)}}}, {', '.join(_READERS)}")


def _data_table(data: Mapping[str, Tree], limits: Limits) -> Table:
    name = next(name for name in _TENSORS if name in data)
    try:
        return _named(_tensor_table(name, data[name], limits), _names(data.get("names")))
    except MalformedPayload as exc:
        raise MalformedPayload(f"{name!r}: {exc}") from exc


def _tensor_table(name: str, value: Tree, limits: Limits) -> Table:
    match name:
        case "tensor":
            return Table((_dense(name, value, limits),), named=False)
        case "tftensor":
            return Table((read_tensor(name, value, limits),), named=False)
    if not isinstance(value, list | NumberBlock):
        raise MalformedPayload(f"it is {type_word(value)}, expected a list of rows")
    return table_of(name, value, limits)


def _dense(name: str, tensor: Tree, limits: Limits) -> Column:
    """A `Tensor`: doubles, in row-major order; NaN and infinities may be sent by name."""
    if not isinstance(tensor, dict):
        raise MalformedPayload(f"it is {type_word(tensor)}, expected an object with 'shape' and 'values'")
    values = tensor.get("values", [])
    if isinstance(values, list) and str in set(map(type, values)):
        values = [float(value) if isinstance(value, str) and value in _NON_FINITE else value for value in values]
    if not isinstance(values, list | NumberBlock):
        raise MalformedPayload(f"'values' is {type_word(values)}, expected a list")
    return typed_column(name, Datatype.FP64, plain(tensor.get("shape")), values, limits)


def _names(given: Tree) -> Sequence[str]:
    """The names that label values; what is no list of names is passed over, as Seldon does."""
    return given if isinstance(given, list) and all(isinstance(name, str) for name in given) else ()


def _named(table: Table, names: Sequence[str]) -> Table:
    """The table with its values labelled: columns by position, the entries of a row, or the only entry of each row."""
    if not names or (table.named and table.columns[0].name != "0"):
        return table
    if table.named:
        if len(names) != len(table.columns) or len(set(names)) < len(names):
            return table
        return Table(tuple(replace(column, name=name) for column, name in zip(table.columns, names, strict=True)), True)
    (column,) = table.columns
    if len(column.shape) == 1 and len(names) == 1:
        return Table((replace(column, name=names[0]),), named=True)
    if len(column.shape) == 2 and column.shape[1] == len(names):
        return Table((replace(column, features=tuple(names)),), named=False)
    left_out = f"names are left out: there are {len(names)} for shape {list(column.shape)}"
    return Table((replace(column, note="; ".join(filter(None, (column.note, left_out)))),), named=False)


def _bytes_table(name: str, value: Tree, limits: Limits) -> Table:
    if not isinstance(value, str):
        raise MalformedPayload(f"{name!r} is {type_word(value)}, expected base64")
    return Table((column_of(name, [{"b64": value}], limits),), named=False)


def _text_table(name: str, value: Tree, limits: Limits) -> Table:
    if not isinstance(value, str):
        raise MalformedPayload(f"{name!r} is {type_word(value)}, expected text")
    return Table((column_of(name, [value], limits),), named=False)


def _json_table(name: str, value: Tree, limits: Limits) -> Table:
    """A list is rows. Anything else is one value, which only its model can take apart."""
    if isinstance(value, list | NumberBlock):
        return table_of(name, value, limits)
    return Table((json_column(name, [value], "one JSON value"),), named=False)


_READERS: Final[Mapping[str, Callable[[str, Tree, Limits], Table]]] = MappingProxyType(
    {"binData": _bytes_table, "strData": _text_table, "jsonData": _json_table}
)


def _read_feedback(tree: Mapping[str, Tree], limits: Limits) -> Payload:
    columns = [*_truth_columns(tree.get("truth"), limits)]
    reward = tree.get("reward")
    if reward is not None:
        rows = columns[0].shape[0] if columns else _request_rows(tree.get("request"), limits)
        columns.append(_reward_column(reward, rows))
    if not columns:
        raise MalformedPayload("feedback has neither a truth nor a reward")
    puids = (_puid(tree.get(name)) for name in ("response", "request", "truth"))
    return Payload(Protocol.SELDON, Kind.FEEDBACK, tuple(columns), id=next(filter(None, puids), None))


def _truth_columns(truth: Tree, limits: Limits) -> Sequence[Column]:
    if not isinstance(truth, dict) or not _is_message(truth):
        return ()
    table = _message_table(truth, limits)
    return table.columns if table.named else [replace(column, name="truth") for column in table.columns]


def _request_rows(request: Tree, limits: Limits) -> int:
    if not isinstance(request, dict) or not _is_message(request):
        return 1
    return _message_table(request, limits).columns[0].shape[0]


def _reward_column(reward: Any, rows: int) -> Column:
    if isinstance(reward, str) and reward in _NON_FINITE:
        reward = float(reward)
    if not isinstance(reward, int | float) or isinstance(reward, bool):
        raise MalformedPayload(f"'reward' is {type_word(reward)}, expected a number")
    if isinstance(reward, int) and reward.bit_length() > 1023:
        raise MalformedPayload("'reward' is beyond FP64")
    return Column("reward", Datatype.FP64, (rows,), FlatList([float(reward)] * rows))
