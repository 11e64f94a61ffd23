"""The operators on two Integers.

Source: cloudevents/spec c2845a4, cesql/spec.md section 3.4.2. It has no word on overflow, so that is what any error
of arithmetic is: a math error beside 0. Knative's engine wraps around instead.
Invariant: the result is an Integer of 32 bits, or `Failure` is raised.
"""

import operator
from collections.abc import Callable, Mapping

from wayside.eventing.cesql.errors import Error, Failure
from wayside.eventing.cesql.values import INTEGER_MAX, INTEGER_MIN


def bounded(value: int) -> int:
    """The number itself where it is an Integer. Raises `Failure`."""
    if INTEGER_MIN <= value <= INTEGER_MAX:
        return value
    raise Failure(Error.MATH, f"{value} is no integer of 32 bits")


def _divide(x: int, y: int) -> int:
    """Rounded towards 0, as everywhere but in Python."""
    quotient = abs(x) // abs(_divisor(y))
    return bounded(quotient if (x < 0) == (y < 0) else -quotient)


def _remainder(x: int, y: int) -> int:
    """With the sign of `x`."""
    remainder = abs(x) % abs(_divisor(y))
    return -remainder if x < 0 else remainder


def _divisor(y: int) -> int:
    if y == 0:
        raise Failure(Error.MATH, "division by zero")
    return y


ARITHMETIC: Mapping[str, Callable[[int, int], int]] = {
    "+": lambda x, y: bounded(x + y),
    "-": lambda x, y: bounded(x - y),
    "*": lambda x, y: bounded(x * y),
    "/": _divide,
    "%": _remainder,
}
COMPARISONS: Mapping[str, Callable[[int, int], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
