"""The functions of CESQL.

Source: cloudevents/spec c2845a4, cesql/spec.md section 3.5.
Invariant: total. A function gets values of the types it declares, and returns one of its own or raises `Failure`; no
string that it makes is longer than `STRING_LIMIT`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from wayside.eventing.cesql.casts import to_boolean, to_integer
from wayside.eventing.cesql.errors import Error, Failure
from wayside.eventing.cesql.values import INTEGER_MAX, STRING_LIMIT, Type, Value, quoted, string_of

# Unicode's White_Space; str.strip() alone also takes the control characters U+001C to U+001F
_WHITE_SPACE = (
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006"
    "\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
)


@dataclass(frozen=True, slots=True)
class Function:
    """The types of its arguments (None is any), what any number of further ones are cast to, and its own type."""

    parameters: tuple[Type | None, ...]
    returns: Type
    call: Callable[..., Value]
    rest: Type | None = None

    def takes(self, count: int) -> bool:
        """Whether it can be called with so many arguments."""
        return count == len(self.parameters) or (self.rest is not None and count > len(self.parameters))

    def types(self, count: int) -> tuple[Type | None, ...]:
        """The type of each of so many arguments."""
        return self.parameters + (self.rest,) * (count - len(self.parameters))


def resolve(name: str, count: int) -> Function | None:
    """The function of this name, in upper case, that takes so many arguments."""
    return next((function for function in _FUNCTIONS.get(name, ()) if function.takes(count)), None)


def why_none(name: str, count: int) -> str:
    """Why `resolve` finds none: what else there is, of this name or of others."""
    known = _FUNCTIONS.get(name)
    if known is None:
        return f"there is no function {quoted(name)}: there are {', '.join(sorted(_FUNCTIONS))}"
    least = " or ".join(f"{len(each.parameters)}{' or more' if each.rest else ''}" for each in known)
    return f"{name} takes {least} argument{'' if least == '1' else 's'}, not {count}"


def too_long() -> Failure:
    """The failure of a function whose result would be no string that expressions handle."""
    return Failure(Error.FUNCTION_EVALUATION, f"the result is longer than {STRING_LIMIT} characters")


def _bounded(text: str) -> str:
    if len(text) > STRING_LIMIT:
        raise too_long()
    return text


def _absolute(x: int) -> int:
    if abs(x) > INTEGER_MAX:
        raise Failure(Error.MATH, f"ABS({x}) is no integer of 32 bits", INTEGER_MAX)
    return abs(x)


def _concat(*texts: str) -> str:
    return _concat_with("", *texts)


def _concat_with(delimiter: str, *texts: str) -> str:
    if sum(map(len, texts)) + len(delimiter) * (len(texts) - 1) > STRING_LIMIT:
        raise too_long()
    return delimiter.join(texts)


def _left(x: str, count: int) -> str:
    return x[: _count("LEFT", x, count)]


def _right(x: str, count: int) -> str:
    return x[max(len(x) - _count("RIGHT", x, count), 0) :]


def _count(name: str, x: str, count: int) -> int:
    if count < 0:
        raise Failure(Error.FUNCTION_EVALUATION, f"{name} of {count} characters", x)
    return count


def _substring(x: str, position: int, length: int = INTEGER_MAX) -> str:
    if abs(position) > len(x):
        raise Failure(Error.FUNCTION_EVALUATION, f"SUBSTRING at {position} of {len(x)} characters")
    if length < 0:
        raise Failure(Error.FUNCTION_EVALUATION, f"SUBSTRING of {length} characters")
    if position == 0:
        return ""
    start = position - 1 if position > 0 else len(x) + position
    return x[start : start + length]


_FUNCTIONS: Mapping[str, tuple[Function, ...]] = {
    "INT": (Function((None,), int, to_integer),),
    "BOOL": (Function((None,), bool, to_boolean),),
    "STRING": (Function((None,), str, string_of),),
    "ABS": (Function((int,), int, _absolute),),
    "LENGTH": (Function((str,), int, len),),
    "CONCAT": (Function((), str, _concat, rest=str),),
    "CONCAT_WS": (Function((str,), str, _concat_with, rest=str),),
    "LOWER": (Function((str,), str, lambda x: _bounded(x.lower())),),
    "UPPER": (Function((str,), str, lambda x: _bounded(x.upper())),),
    "TRIM": (Function((str,), str, lambda x: x.strip(_WHITE_SPACE)),),
    "LEFT": (Function((str, int), str, _left),),
    "RIGHT": (Function((str, int), str, _right),),
    "SUBSTRING": (Function((str, int), str, _substring), Function((str, int, int), str, _substring)),
}
