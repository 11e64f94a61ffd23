"""What detectors say: alibi-detect's result, as Seldon's server, its logs and Wayside's own verdicts carry it.

Source: SeldonIO/alibi-detect, base.py (`outlier_prediction_dict`, `adversarial_prediction_dict`, `concept_drift_dict`);
SeldonIO/seldon-core, components/alibi-detect-server, whose results also came as a JSON text within JSON.
Invariant: an outlier's or adversarial's columns have one entry for each row that was judged; drift is one row, for the
window that was judged, with one entry a feature within it. Members that are null are left out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from wayside.eventing.errors import MalformedPayload
from wayside.eventing.payloads import json_body
from wayside.eventing.payloads.payload import Column, Kind, Limits, NumberBlock, Payload, Protocol, Tree, Values
from wayside.eventing.payloads.protocols.members import text, type_word
from wayside.eventing.payloads.tensors import check_rows, columns_of, row_count

_OF_ROWS: Final = ("is_outlier", "is_adversarial")
_OF_WINDOW: Final = "is_drift"
_DECISIONS: Final = (*_OF_ROWS, _OF_WINDOW)
_MEMBERS_LIMIT: Final = 64
_REPEATED_LIMIT: Final = 8  # of them, numbers that stand for every row: a small body does not become a huge table


@dataclass(frozen=True, slots=True)
class _Repeated(Values):
    """One value for every row, such as a threshold."""

    value: float

    def row_values(self, shape: Sequence[int]) -> list[Any]:
        return [self.value] * shape[0]


def claims(tree: Tree) -> bool:
    """Whether a document, or the one in its text, has a detector's decision in its `data`."""
    if isinstance(tree, str):
        return tree.lstrip().startswith("{") and any(f'"{name}"' in tree for name in _DECISIONS)
    data = tree.get("data") if isinstance(tree, dict) else None
    return isinstance(data, dict) and any(name in data for name in _DECISIONS)


def read(tree: Tree, kind: Kind | None, limits: Limits) -> Payload:
    """The payload of a result; its model is the detector's name. Raises `MalformedPayload` with the member."""
    if kind not in (None, Kind.VERDICT):
        raise MalformedPayload(f"a {kind} was expected, and the body is a detector's result")
    if isinstance(tree, str):
        tree = json_body.load(tree.encode(), limits)
    data = tree.get("data") if isinstance(tree, dict) else None
    if not isinstance(data, dict):
        raise MalformedPayload("a detector's result is an object with 'data'")
    meta = tree.get("meta")
    name = text(meta.get("name")) if isinstance(meta, dict) else None
    members = {key: value for key, value in data.items() if value is not None}
    if len(members) > _MEMBERS_LIMIT:
        raise MalformedPayload(f"'data' has {len(members)} members, the limit is {_MEMBERS_LIMIT}")
    return Payload(Protocol.DETECTOR, Kind.VERDICT, _columns(members, limits), model=name)


def _columns(data: Mapping[str, Tree], limits: Limits) -> tuple[Column, ...]:
    if data.get(_OF_WINDOW) is not None:
        return columns_of(((name, [value]) for name, value in data.items()), limits)
    rows = _rows(data, limits)
    single = {name: value for name, value in data.items() if not isinstance(value, list | NumberBlock)}
    if len(single) > _REPEATED_LIMIT:
        raise MalformedPayload(f"'data' has {len(single)} members that are no lists, the limit is {_REPEATED_LIMIT}")
    for name, value in single.items():
        if not isinstance(value, int | float):
            raise MalformedPayload(
                f"{name[:64]!r} is {type_word(value)}, expected a number, or a list of one entry a row"
            )
    columns = columns_of(((name, [value] if name in single else value) for name, value in data.items()), limits)
    return tuple(
        replace(column, shape=(rows,), values=_Repeated(single[column.name])) if column.name in single else column
        for column in columns
    )


def _rows(data: Mapping[str, Tree], limits: Limits) -> int:
    """How many rows were judged. A decision that is no list is about one row."""
    decision = next((data[name] for name in _OF_ROWS if name in data), None)
    if decision is None:
        raise MalformedPayload(f"'data' has none of {', '.join(_DECISIONS)}")
    if isinstance(decision, list | NumberBlock):
        check_rows(decision, limits)
        return row_count(decision)
    if not isinstance(decision, int | float):
        raise MalformedPayload(f"a decision is {type_word(decision)}, expected numbers")
    return 1
