"""What must hold of the expression language for any bytes: the fuzzer and the seeded tests call `check`.

The first byte of an input chooses the event, the rest is the expression's text.
"""

from wayside.eventing.cesql.expression import CesqlSyntaxError, Error, Expression, Result, Value
from wayside.eventing.event import CloudEvent

_STRING_LIMIT = 1 << 16
_EXTENSIONS = (
    {},
    {"x": "a_b%c", "n": "-2147483648", "b": "TRUE", "long": "aab" * 20_000},
    {"x": "\u00e9\U0001f600\x1c", "n": "7", "b": "false", "long": "\u00df" * 40_000},
    {"x": "", "n": "2147483648", "b": "1", "long": "x" * (_STRING_LIMIT + 1)},
)
EVENTS = tuple(CloudEvent(id="1", source="/s", type="a.request", extensions=extensions) for extensions in _EXTENSIONS)
TYPED: dict[str, Value] = {"id": "1", "x": 2**31 - 1, "n": -(2**31), "b": True, "long": 2**40}


def check(data: bytes) -> Result | None:
    """The result for the event of the input, or None where its text is refused. Raises where an invariant breaks."""
    event = EVENTS[data[0] % len(EVENTS)] if data else EVENTS[0]
    text = data[1:].decode(errors="replace")
    try:
        expression = Expression.parse(text)
    except CesqlSyntaxError as exc:
        _check_place(text, exc)
        return None
    result = expression.evaluate(event.attribute)
    for each in (result, expression.evaluate(TYPED.get)):
        _check_result(each)
    assert expression.evaluate(event.attribute) == result
    assert expression.passes(event) is result.passes
    _check_in_parentheses(text, event, result)
    return result


def _check_place(text: str, refusal: CesqlSyntaxError) -> None:
    lines = text.split("\n")
    assert 1 <= refusal.line <= len(lines)
    assert 1 <= refusal.column <= len(lines[refusal.line - 1]) + 1
    assert refusal.reason


def _check_result(result: Result) -> None:
    assert result.value.__class__ in (str, int, bool)
    assert result.error is None or (result.error is not Error.PARSE and result.reason)
    if isinstance(result.value, str):
        assert len(result.value) <= _STRING_LIMIT
    else:
        assert -(2**31) <= result.value < 2**31


def _check_in_parentheses(text: str, event: CloudEvent, result: Result) -> None:
    """Parentheses around the whole change nothing, but that they may be one level too many."""
    try:
        wrapped = Expression.parse(f"( {text}\n)").evaluate(event.attribute)
    except CesqlSyntaxError as exc:
        if "nested too deep" not in exc.reason:
            raise
    else:
        assert wrapped == result
