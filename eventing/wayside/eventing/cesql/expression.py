"""A CESQL expression: parsed and compiled once, evaluated for any number of events.

Source: cloudevents/spec c2845a4, cesql/spec.md.
Invariant: an evaluation ends with a value, whatever the attributes are, and in time at most text x attributes.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from wayside.eventing.cesql import functions
from wayside.eventing.cesql.compiler import Run, compile_node
from wayside.eventing.cesql.errors import CesqlSyntaxError, Error, Failure
from wayside.eventing.cesql.parser import parse
from wayside.eventing.cesql.syntax import Node, calls
from wayside.eventing.cesql.values import ZERO, Type, Value
from wayside.eventing.event import CloudEvent

__all__ = ["CesqlSyntaxError", "Error", "Expression", "Result", "Value"]


@dataclass(frozen=True, slots=True)
class Result:
    """What an evaluation gives: always a value, and the error that ended it, if any, with its reason for people."""

    value: Value
    error: Error | None = None
    reason: str = ""

    @property
    def passes(self) -> bool:
        """Whether an event with this result passes a filter: true, and no error."""
        return self.value is True and self.error is None


@dataclass(frozen=True, slots=True)
class Expression:
    """An expression of CESQL 1.0. Immutable: threads may share it."""

    text: str
    _root: Node = field(repr=False, compare=False)
    _run: Run = field(repr=False, compare=False)
    _type: Type | None = field(repr=False, compare=False)

    @classmethod
    def parse(cls, text: str) -> "Expression":
        """Raises `CesqlSyntaxError` with reason, line and column; no text takes longer than linear in its length."""
        root = parse(text)
        code = compile_node(root)
        return cls(text, root, code.run, code.type)

    def check_functions(self) -> None:
        """Raises `CesqlSyntaxError` at the first call of a function that there is not, or not of so many arguments.

        To be valid, an expression needs no such check: evaluated, the call is a missingFunction error.
        """
        for call in calls(self._root):
            count = len(call.arguments)
            if functions.resolve(call.name, count) is None:
                raise CesqlSyntaxError.at(self.text, call.at, functions.why_none(call.name, count))

    def evaluate(self, attribute: Callable[[str], Value | None]) -> Result:
        """The result for the event whose attributes `attribute` looks up by name; None says that it has none.

        Names are in lower case, and `data` is none: do not answer it. Never raises but what `attribute` raises.
        """
        try:
            return Result(self._run(attribute))
        except Failure as failure:
            return Result(self._value_of(failure), failure.error, str(failure))

    def passes(self, event: CloudEvent) -> bool:
        """Whether the event passes this expression as a filter. An error or a value that is no Boolean never passes."""
        try:
            return self._run(event.attribute) is True
        except Failure:
            return False

    def _value_of(self, failure: Failure) -> Value:
        """The value beside an error: that of the operator or function that failed, where it is the whole expression."""
        if failure.value is not None and failure.owner == self._root.at:
            return failure.value
        return ZERO[self._type or bool]
