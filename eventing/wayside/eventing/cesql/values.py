"""The values of CESQL: strings, 32-bit integers, booleans, and how one type becomes another.

Source: cloudevents/spec c2845a4, cesql/spec.md sections 3.1 and 3.7.
Invariant: a bool is never an Integer here, though it is an int of Python: types are told by `value.__class__`.
"""

import re
from collections.abc import Mapping

Value = str | int | bool
Type = type[str] | type[int] | type[bool]

INTEGER_MIN, INTEGER_MAX = -(2**31), 2**31 - 1
# the longest string that an expression handles, in characters: an attribute, or what a function makes
STRING_LIMIT = 1 << 16
ZERO: Mapping[Type, Value] = {str: "", int: 0, bool: False}
NAMES: Mapping[Type, str] = {str: "String", int: "Integer", bool: "Boolean"}
_INTEGER = re.compile(r"([+-]?)0*([0-9]{1,10})", re.ASCII)
_BOOLEANS: Mapping[str, bool] = {"true": True, "false": False}
_SHOWN = 64


def fits(value: int) -> bool:
    """Whether a number is an Integer of CESQL."""
    return INTEGER_MIN <= value <= INTEGER_MAX


def parse_integer(text: str) -> int | None:
    """The Integer that a text of base 10, which may begin with one sign, stands for; None where it is none."""
    match = _INTEGER.fullmatch(text)
    value = int(match[1] + match[2]) if match else INTEGER_MAX + 1
    return value if fits(value) else None


def parse_boolean(text: str) -> bool | None:
    """The Boolean that a text names, in any case; None where it names none."""
    return _BOOLEANS.get(text.lower()) if len(text) <= len("false") else None


def string_of(value: Value) -> str:
    """The String of a value: this cast never fails."""
    if value.__class__ is bool:
        return "true" if value else "false"
    return str(value)


def quoted(text: str) -> str:
    """A string as a message shows it: its beginning, in quotes."""
    return repr(text) if len(text) <= _SHOWN else f"{text[:_SHOWN]!r}…"
