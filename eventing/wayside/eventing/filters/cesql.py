"""The `cesql` dialect: a CloudEvents SQL expression that is true.

Source: CloudEvents SQL 1.0; Knative Eventing v1, where an error or a value that is no boolean never passes.
Invariant: an expression passes an event only where it evaluates to true without an error.
"""

from wayside.eventing.cesql.expression import Expression, Result
from wayside.eventing.event import CloudEvent
from wayside.eventing.filters.filter import shown

_SHOWN_ATTRIBUTES = 20


class Cesql:
    """Passes what the expression is true of.

    Raises `CesqlSyntaxError` for a text that is none, or calls a function that there is not: that would never pass.
    """

    __slots__ = ("_expression", "passes")

    def __init__(self, text: str) -> None:
        self._expression = Expression.parse(text)
        self._expression.check_functions()
        self.passes = self._expression.passes

    def explain(self, event: CloudEvent) -> str:
        """The value or the error, and each attribute that the evaluation looked at."""
        seen: dict[str, str | None] = {}

        def attribute(name: str) -> str | None:
            return seen.setdefault(name, event.attribute(name))

        verdict = _verdict(self._expression.evaluate(attribute))
        looked_at = [_attribute(name, value) for name, value in list(seen.items())[:_SHOWN_ATTRIBUTES]]
        return f"cesql: {verdict}" + (f", where {' and '.join(looked_at)}" if looked_at else "")


def _verdict(result: Result) -> str:
    if result.error is not None:
        return f"the error is {result.error} ({result.reason})" if result.reason else f"the error is {result.error}"
    if isinstance(result.value, bool):
        return f"the value is {str(result.value).lower()}"
    return f"the value is {shown(str(result.value))}, which is no boolean"


def _attribute(name: str, value: str | None) -> str:
    return f"the event has no attribute {shown(name)}" if value is None else f"{name} is {shown(value)}"
