"""What can go wrong with an expression: a text that is none, and the errors of an evaluation.

Source: cloudevents/spec c2845a4, cesql/spec.md section 3.3; the words are those of its conformance kit.
Invariant: an evaluation that fails still has a value, so a `Failure` never leaves this package.
"""

from enum import StrEnum

from wayside.eventing.cesql.values import Value
from wayside.eventing.errors import WaysideError


class Error(StrEnum):
    """The kinds of error that CESQL knows."""

    PARSE = "parse"
    CAST = "cast"
    MATH = "math"
    MISSING_ATTRIBUTE = "missingAttribute"
    MISSING_FUNCTION = "missingFunction"
    FUNCTION_EVALUATION = "functionEvaluation"
    GENERIC = "generic"


class CesqlSyntaxError(WaysideError):
    """A text is no expression: why, and where, in lines and columns counted from 1."""

    def __init__(self, reason: str, line: int, column: int) -> None:
        super().__init__(f"line {line}, column {column}: {reason}")
        self.reason, self.line, self.column = reason, line, column

    @classmethod
    def at(cls, text: str, offset: int, reason: str) -> "CesqlSyntaxError":
        """The error at an offset of the text."""
        return cls(reason, text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset))


class Failure(Exception):
    """The evaluation has ended with an error.

    `value` is what the operator or function that failed returns beside the error, where that is not the zero value of
    its type; `owner` is then the place of its name in the text. The value of whatever it stands in is a zero value.
    """

    def __init__(self, error: Error, reason: str, value: Value | None = None, owner: int | None = None) -> None:
        super().__init__(reason)
        self.error, self.value, self.owner = error, value, owner
