"""What the elements of a BYTES column hold, by MLServer's content types: text, base64, date and time.

Source: MLServer's codecs (string.py, base64.py, datetime.py, numpy.py, pandas.py): `str` is UTF-8, `base64` RFC 4648
§4, `datetime` ISO 8601; `np` and `pd` say how tensors become a user's array or frame, not what BYTES hold.
Invariant: one value a row, in the rows' order, None where the row is null; or a refusal that names the row.
"""

from base64 import b64decode
from collections.abc import Callable, Sequence
from datetime import datetime
from math import prod
from typing import Any, Final, TypeVar

from wayside.eventing.errors import MalformedPayload
from wayside.eventing.payloads.datatypes import Packed, packed_elements
from wayside.eventing.payloads.payload import Column, Datatype

BASE64: Final = "base64"
_OF_BYTES: Final = frozenset({"str", BASE64, "datetime"})

_Sent = TypeVar("_Sent")
_Read = TypeVar("_Read")


def bytes_content_type(datatype: Datatype, of_tensor: object, of_request: object) -> str | None:
    """What a tensor's BYTES hold, by its own `content_type` or else its request's; None where neither says it."""
    if datatype is not Datatype.BYTES:
        return None
    given = of_tensor if isinstance(of_tensor, str) and of_tensor else of_request
    return given if isinstance(given, str) and (given in _OF_BYTES or "/" in given) else None


def byte_values(column: Column) -> list[bytes | None]:
    """The bytes of each row, decoded where they were sent as base64: by content type, or as V1's `{"b64": …}`.

    Raises `MalformedPayload` for a column of more than one element a row, and for a row that is neither text nor
    bytes, or no base64: MLServer passes such an element on as it is, and nobody can tell what was meant.
    """
    decode = _from_base64 if column.content_type == BASE64 else _as_sent
    return _each_row(column, _elements(column), decode, "base64")


def texts(column: Column) -> list[str | None]:
    """The text of each row. Raises `MalformedPayload` as `byte_values` does, and for a row that is not UTF-8."""
    return _each_row(column, byte_values(column), bytes.decode, "UTF-8")


def datetimes(column: Column) -> list[datetime | None]:
    """The date and time of each row, with a time zone where one was sent.

    Raises `MalformedPayload` as `texts` does, and for a row that is not ISO 8601.
    """
    return _each_row(column, texts(column), datetime.fromisoformat, "an ISO 8601 date and time")


def _each_row(
    column: Column, sent: Sequence[_Sent | None], read: Callable[[_Sent], _Read], expected: str
) -> list[_Read | None]:
    values = list[_Read | None]()
    for row, value in enumerate(sent):
        try:
            values.append(None if value is None else read(value))
        except (TypeError, ValueError) as exc:
            reason = str(exc) if isinstance(exc, TypeError) else f"is not {expected}"
            raise MalformedPayload(f"column {column.name[:64]!r}, row {row} {reason}") from exc
    return values


def _elements(column: Column) -> Sequence[Any]:
    """One element a row, as sent: text, bytes, an object or None; MLServer's shapes are (rows,) and (rows, 1)."""
    if column.shape[0] and prod(column.shape[1:]) != 1:
        raise MalformedPayload(f"column {column.name[:64]!r} of shape {list(column.shape)} has no one element a row")
    if isinstance(column.values, Packed) and column.datatype is Datatype.BYTES:
        return packed_elements(column.values.data)
    return [_only(value) for value in column.row_values()]


def _only(value: Any) -> Any:
    while isinstance(value, list) and len(value) == 1:
        value = value[0]
    return value


def _as_sent(element: Any) -> bytes:
    match element:
        case bytes():
            return element
        case str():
            return _encoded(element)
        case {"b64": str(encoded)}:
            return b64decode(encoded, validate=True)
    raise TypeError(f"is a value of type {type(element).__name__}, expected text or bytes")


def _encoded(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as exc:
        raise TypeError("is text with half a surrogate pair, which no UTF-8 holds") from exc


def _from_base64(element: Any) -> bytes:
    return _as_sent(element) if isinstance(element, dict) else b64decode(_as_sent(element), validate=True)
