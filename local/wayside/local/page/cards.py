"""A record's document as a card: what a person needs to recognise a flagged row, and the whole document as text.

Invariant: whatever a payload holds, a card is small and is JSON; every text in it is for `textContent`, never markup.
"""

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

from wayside.eventing.vocabulary import GRPC_STATUS, REDACTION, REDACTION_STATES, STATUS_CODE, TRUNCATED

Json = dict[str, Any]
TEXT_LIMIT = 160
DOCUMENT_LIMIT = 256 * 1024
_VALUES = 64 * 64
_FIELDS = 12
_SIDES = range(4, 65)


def card(document: Mapping[str, Any]) -> Json:
    """One flagged row. `picture` is a square of numbers in row-major order, or None; then `fields` names the values.

    `prediction` is None where there is none; `failed` then says what there is instead, where an answer was recorded.
    """
    verdict = _part(document, "outlier", "data")
    instance = _part(document, "request").get("instance")
    picture = _picture(instance)
    return {
        "id": str(document.get("_id", "")),
        "time": clip(document.get("@timestamp", "")),
        "service": clip(document.get("Ce-Inferenceservicename", "")),
        "detector": clip(_part(document, "outlier", "meta").get("name", "")),
        "score": _number(verdict.get("instance_score")),
        "p_value": _number(verdict.get("p_value")),
        "threshold": _number(verdict.get("threshold")),
        **_answer(_part(document, "response")),
        "picture": picture,
        "fields": [] if picture else list(_fields(_part(document, "request"), instance)),
    }


def clip(value: object) -> str:
    """Any value as a short text."""
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= TEXT_LIMIT else text[: TEXT_LIMIT - 1] + "…"


def as_text(document: Mapping[str, Any]) -> str:
    """The whole document for reading: indented, but for lists of values, which stand on one line."""
    text = "".join(_lines(document, "\n"))
    return text if len(text) <= DOCUMENT_LIMIT else text[:DOCUMENT_LIMIT] + "\n… the rest is not shown here"


def _lines(value: Any, newline: str) -> Iterator[str]:
    nested = isinstance(value, list) and any(isinstance(item, list | dict) for item in value)
    if not value or not (isinstance(value, Mapping) or nested):
        yield json.dumps(value, ensure_ascii=False)
        return
    opening, closing = "{}" if isinstance(value, Mapping) else "[]"
    parts = value.items() if isinstance(value, Mapping) else ((None, item) for item in value)
    comma = opening
    for name, item in parts:
        yield f"{comma}{newline}  " + ("" if name is None else f"{json.dumps(name, ensure_ascii=False)}: ")
        yield from _lines(item, f"{newline}  ")
        comma = ","
    yield newline + closing


def _part(document: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    part: Any = document
    for name in names:
        part = part.get(name) if isinstance(part, Mapping) else None
    return part if isinstance(part, Mapping) else {}


def _answer(response: Mapping[str, Any]) -> Json:
    failed = _failure(response)
    return {
        "prediction": clip(response["instance"]) if "instance" in response and not failed else None,
        "failed": failed,
    }


def _failure(response: Mapping[str, Any]) -> str | None:
    """Why an answer is no prediction, in a few words; None where it is one."""
    status, grpc_status = response.get(STATUS_CODE, 200), response.get(GRPC_STATUS, 0)
    if status // 100 != 2:
        return f"error {status}"
    if grpc_status:
        return f"gRPC error {grpc_status}"
    if response.get(TRUNCATED):
        return "cut off"
    return "withheld" if response.get(REDACTION) == REDACTION_STATES[1] else None


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _picture(instance: object) -> list[float] | None:
    """The values of a row that can be seen as a square picture of 4 x 4 to 64 x 64 pixels."""
    values = list(_flat(instance))
    numbers = [number for value in values if (number := _number(value)) is not None]
    square = math.isqrt(len(values)) in _SIDES and math.isqrt(len(values)) ** 2 == len(values)
    return numbers if square and len(numbers) == len(values) else None


def _flat(instance: object, depth: int = 3) -> Iterator[object]:
    """The values of a list of lists, one more than a picture may have at most."""
    if isinstance(instance, list) and depth:
        for item in instance[: _VALUES + 1]:
            yield from _flat(item, depth - 1)
    else:
        yield instance


def _fields(request: Mapping[str, Any], instance: object) -> Iterator[tuple[str, str]]:
    """The first values of a row under the names of their columns, or their positions."""
    elements = request.get("elements")
    named = elements if isinstance(elements, Mapping) else instance
    if isinstance(named, Mapping):
        pairs = [(str(name), value) for name, value in list(named.items())[:_FIELDS]]
    elif isinstance(named, list):
        pairs = [(str(position), value) for position, value in enumerate(named[:_FIELDS])]
    else:
        pairs = [("value", named)]
    for name, value in pairs:
        yield clip(name), clip(value)
