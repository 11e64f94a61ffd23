"""From any value to a value of one type, or the cast error that CESQL has for it.

Source: cloudevents/spec c2845a4, cesql/spec.md section 3.7.
Invariant: a cast returns a value of exactly the type asked for, or raises `Failure`; to a String it never fails.
"""

from collections.abc import Callable, Mapping

from wayside.eventing.cesql.errors import Error, Failure
from wayside.eventing.cesql.values import Type, Value, parse_boolean, parse_integer, quoted, string_of


def to_integer(value: Value) -> int:
    """Raises `Failure`."""
    number = parse_integer(value) if isinstance(value, str) else int(value)
    if number is None:
        raise Failure(Error.CAST, f"{quoted(str(value))} is no integer of 32 bits")
    return number


def to_boolean(value: Value) -> bool:
    """Raises `Failure`."""
    truth = parse_boolean(value) if isinstance(value, str) else bool(value)
    if truth is None:
        raise Failure(Error.CAST, f"{quoted(str(value))} is neither 'true' nor 'false'")
    return truth


CASTS: Mapping[Type, Callable[[Value], Value]] = {str: string_of, int: to_integer, bool: to_boolean}
