"""The syntax tree of an expression.

Source: cloudevents/spec c2845a4, cesql/CESQLParser.g4.
Invariant: frozen, and never higher than the parser's limit: whoever walks down a tree may recurse.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from wayside.eventing.cesql.values import Value


@dataclass(frozen=True, slots=True)
class Node:
    """A subexpression: where its operator or name stands in the text (no two share one place), and its height."""

    at: int
    height: int


@dataclass(frozen=True, slots=True)
class Literal(Node):
    value: Value


@dataclass(frozen=True, slots=True)
class Attribute(Node):
    """The value of an attribute; its name in lower case."""

    name: str


@dataclass(frozen=True, slots=True)
class Exists(Node):
    name: str


@dataclass(frozen=True, slots=True)
class Not(Node):
    operand: Node


@dataclass(frozen=True, slots=True)
class Negate(Node):
    operand: Node


@dataclass(frozen=True, slots=True)
class Like(Node):
    """`pattern` is the string literal after LIKE, its wildcards and their escapes as they were written."""

    operand: Node
    pattern: str
    negated: bool


@dataclass(frozen=True, slots=True)
class In(Node):
    operand: Node
    members: tuple[Node, ...]
    negated: bool


@dataclass(frozen=True, slots=True)
class Binary(Node):
    """An arithmetic operator or a comparison."""

    operator: str
    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class Logic(Node):
    """`x1 op1 x2 op2 … xN`: flat, because filters list many alternatives, and grouped from the right.

    `a AND b OR c` is `a AND (b OR c)`. There is one operator less than there are operands.
    """

    operands: tuple[Node, ...]
    operators: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Call(Node):
    """A function by its name in upper case."""

    name: str
    arguments: tuple[Node, ...]


def calls(node: Node) -> Iterator[Call]:
    """Every call in a tree, in the order of the text."""
    if isinstance(node, Call):
        yield node
    for child in _children(node):
        yield from calls(child)


def _children(node: Node) -> tuple[Node, ...]:
    match node:
        case Not() | Negate() | Like():
            return (node.operand,)
        case In():
            return (node.operand, *node.members)
        case Binary():
            return (node.left, node.right)
        case Logic():
            return node.operands
        case Call():
            return node.arguments
    return ()
