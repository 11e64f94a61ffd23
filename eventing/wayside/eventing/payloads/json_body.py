"""A JSON body as Python values, read strictly: what two readers could take for two things is refused.

Source: RFC 8259, and `NaN`, `Infinity` and `-Infinity`, which Python's model servers write and read; RFC 7493 (I-JSON)
on duplicate names and on surrogates.
Invariant: every refusal is a `MalformedPayload` and takes time linear in the body, however it is nested.
"""

import json
import re
import sys
from array import array
from codecs import BOM_UTF8
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from typing import Any, Final, NoReturn

from wayside.eventing.errors import MalformedPayload
from wayside.eventing.payloads.payload import Limits, Tree

# A string without an end is one match to the end of the body, not a new attempt at every quote in it.
_STRING: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_NO_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))
_STEPS: Final = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")  # one level down or up, as signed bytes
# Every escape is stepped over, so that a backslash that is itself escaped starts none.
_ESCAPE: Final = re.compile(
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u(?P<half>[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)


def load(body: bytes, limits: Limits) -> Tree:
    """The document in a UTF-8 body, with or without a byte order mark. Integers are exact; 1e400 is Infinity.

    Raises `MalformedPayload` with the place: no UTF-8, no JSON, text after the document, a member given twice, half of
    a surrogate pair, an integer of thousands of digits, or deeper than `limits.depth`.
    """
    return _read(body, limits, _DECODER)


def load_with(body: bytes, limits: Limits, parse_float: Callable[[str], Any]) -> Tree:
    """As `load`, with what `parse_float` makes of the text of each number that has a fraction or an exponent."""
    return _read(body, limits, json.JSONDecoder(object_pairs_hook=_members, parse_float=parse_float))


def _read(body: bytes, limits: Limits, decoder: json.JSONDecoder) -> Tree:
    text = _text(body)
    _check_depth(body, limits.depth)
    _check_surrogates(text)
    try:
        return decoder.decode(text)
    except json.JSONDecodeError as exc:
        _refuse(exc, text)
    except ValueError as exc:  # Python's guard against integers that take quadratic time
        raise MalformedPayload(f"an integer has more than {sys.get_int_max_str_digits()} digits") from exc


def _text(body: bytes) -> str:
    try:
        return body.removeprefix(BOM_UTF8).decode()
    except UnicodeDecodeError as exc:
        at = exc.start + len(body) - len(exc.object)
        raise MalformedPayload(f"body is not UTF-8: byte {at} is 0x{body[at]:02x}") from exc


def _check_depth(body: bytes, depth: int) -> None:
    """Raise `MalformedPayload` where lists and objects nest deeper than `depth`: before a parser recurses into them."""
    if body.count(b"[") + body.count(b"{") <= depth:
        return
    steps = _STRING.sub(b"", body).translate(_STEPS, _NO_BRACKETS)
    if max(accumulate(array("b", steps)), default=0) > depth:
        raise MalformedPayload(f"JSON is nested more than {depth} levels deep")


def _check_surrogates(text: str) -> None:
    if "\\ud" not in text and "\\uD" not in text:
        return
    for escape in _ESCAPE.finditer(text):
        if escape["half"]:
            raise MalformedPayload(f"text holds {escape[0]} {_place(text, escape.start())}: half of a surrogate pair")


def _members(pairs: Sequence[tuple[str, Any]]) -> Mapping[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        counts = Counter(name for name, _ in pairs)
        name = max(counts, key=counts.__getitem__)
        raise MalformedPayload(f"member {name[:64]!r} is given twice: parsers differ on which counts")
    return members


_DECODER: Final = json.JSONDecoder(object_pairs_hook=_members)


def _refuse(exc: json.JSONDecodeError, text: str) -> NoReturn:
    reason = (
        "text follows the document"
        if exc.msg == "Extra data"
        else exc.msg[:1].lower() + exc.msg[1:].removesuffix(" at")
    )
    raise MalformedPayload(f"body is not JSON: {reason} {_place(text, exc.pos)}") from exc


def _place(text: str, position: int) -> str:
    line_start = text.rfind("\n", 0, position) + 1
    return f"at line {text.count(chr(10), 0, position) + 1} column {position - line_start + 1}"
