"""Lines of `{"expression": …, "event": {…}}`, read one by one, and what each of them evaluates to.

Invariant: a line that cannot be read says why, and costs no other; no more than one line is in memory.
"""

import json
from collections.abc import Iterator, Mapping
from typing import BinaryIO

from wayside.eventing.cesql.errors import CesqlSyntaxError, Error
from wayside.eventing.cesql.expression import Expression, Result
from wayside.eventing.cesql.typed_event import typed_attributes
from wayside.eventing.cesql.values import Value
from wayside.eventing.errors import WaysideError

LINE_LIMIT_BYTES = 16 << 20
Attributes = Mapping[str, Value]


class UnreadableLine(WaysideError):
    """A line that is no expression with its event; the message says why."""


def evaluate(text: str, attributes: Attributes) -> Result:
    """The result of an expression's text, for an event of these attributes. A text that is none has an error too."""
    try:
        return Expression.parse(text).evaluate(attributes.get)
    except CesqlSyntaxError as exc:
        return Result(False, Error.PARSE, str(exc))


def evaluate_lines(stream: BinaryIO, default: Attributes) -> Iterator[Result | UnreadableLine | None]:
    """What each line evaluates to, in order; None for an empty one. A line without an event has the default's."""
    while line := stream.readline(LINE_LIMIT_BYTES + 1):
        if len(line) > LINE_LIMIT_BYTES:
            _skip_line(stream)
            yield UnreadableLine(f"it is longer than {LINE_LIMIT_BYTES} bytes")
        elif not line.strip():
            yield None
        else:
            yield _evaluated(line, default)


def _skip_line(stream: BinaryIO) -> None:
    while (rest := stream.readline(LINE_LIMIT_BYTES)) and not rest.endswith(b"\n"):
        pass


def _evaluated(line: bytes, default: Attributes) -> Result | UnreadableLine:
    try:
        expression, event = _read(line)
        return evaluate(expression, default if event is None else typed_attributes(event))
    except UnreadableLine as exc:
        return exc
    except WaysideError as exc:
        return UnreadableLine(f"its event is refused: {exc}")


def _read(line: bytes) -> tuple[str, bytes | None]:
    """The expression of a line, and its event's JSON. Raises `UnreadableLine`."""
    try:
        found = json.loads(line.decode("utf-8-sig"))
        event = found.get("event") if isinstance(found, dict) else None
        event_body = None if event is None else json.dumps(event).encode()
    except (ValueError, RecursionError) as exc:
        raise UnreadableLine(f"it cannot be read as JSON: {exc}") from exc
    expression = found.get("expression") if isinstance(found, dict) else None
    if not isinstance(expression, str):
        raise UnreadableLine("it is no object with an 'expression' that is a string")
    return expression, event_body
