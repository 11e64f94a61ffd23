"""From a syntax tree to one function that evaluates it.

Source: cloudevents/spec c2845a4, cesql/spec.md sections 3.2 to 3.7. Errors end the evaluation ("fail fast", 4.1), which
the conformance kit asks for: `false OR (1 != 1 / 0)` is false with a math error.
Theory: each node becomes a closure that takes the lookup of attributes and returns a value; what is known of types
while compiling is decided there. An error is an exception, so that nothing is paid where none occurs.
Invariant: a closure returns a value of the type its `Code` tells, or raises `Failure`; it never changes anything.
"""

from collections.abc import Callable
from dataclasses import dataclass

from wayside.eventing.cesql import functions, like
from wayside.eventing.cesql.arithmetic import ARITHMETIC, COMPARISONS, bounded
from wayside.eventing.cesql.casts import CASTS, to_boolean, to_integer
from wayside.eventing.cesql.errors import Error, Failure
from wayside.eventing.cesql.syntax import (
    Attribute,
    Binary,
    Call,
    Exists,
    In,
    Like,
    Literal,
    Logic,
    Negate,
    Node,
    Not,
)
from wayside.eventing.cesql.values import STRING_LIMIT, Type, Value, fits, string_of

Lookup = Callable[[str], Value | None]
Run = Callable[[Lookup], Value]
# by the specification these are there always, because the input is a valid event
_REQUIRED = frozenset(("specversion", "id", "source", "type"))
# the value of the left operand that decides; None where none does
_ENDS_ON = {"AND": False, "OR": True, "XOR": None}


@dataclass(frozen=True, slots=True)
class Code:
    """A compiled node, and the type of its values; None where only the evaluation tells."""

    run: Run
    type: Type | None


def compile_node(node: Node) -> Code:
    """The code of a tree. Recurses no deeper than the tree is high."""
    match node:
        case Literal():
            return _literal(node.value)
        case Attribute():
            return Code(_attribute(node.name), None)
        case Exists():
            return Code(_exists(node.name), bool)
        case Not():
            return Code(_not(node), bool)
        case Negate():
            return Code(_negate(node), int)
        case Like():
            return Code(_negated(_like(node), node.negated), bool)
        case In():
            return Code(_negated(_in(node), node.negated), bool)
        case Logic():
            return Code(_logic(node), bool)
        case Binary():
            return _binary(node)
        case Call():
            return _call(node)
    raise TypeError(f"no node of CESQL: {node!r}")


def _literal(value: Value) -> Code:
    return Code(lambda attribute: value, value.__class__)


def _attribute(name: str) -> Run:
    def run(attribute: Lookup) -> Value:
        value = attribute(name)
        if value.__class__ is str:
            if len(value) > STRING_LIMIT:
                raise Failure(Error.GENERIC, f"attribute '{name}' is longer than {STRING_LIMIT} characters")
            return value
        if value is None:
            raise Failure(Error.MISSING_ATTRIBUTE, f"the event has no attribute '{name}'")
        return value if value.__class__ is bool or fits(value) else string_of(value)  # type: ignore[arg-type]

    return run


def _exists(name: str) -> Run:
    if name in _REQUIRED:
        return lambda attribute: True
    return lambda attribute: attribute(name) is not None


def _cast(code: Code, target: Type | None) -> Run:
    """The same code, whose value is then cast where it has another type."""
    if target is None or code.type is target:
        return code.run
    run, cast = code.run, CASTS[target]
    return lambda attribute: cast(run(attribute))


def _not(node: Not) -> Run:
    operand = compile_node(node.operand).run

    def run(attribute: Lookup) -> bool:
        value = operand(attribute)
        if value.__class__ is int:
            # The prose casts Integers to Booleans; the kit has NOT of an Integer fail, with the value of NOT FALSE.
            raise Failure(Error.CAST, f"NOT of the integer {value}", True, node.at)
        return not to_boolean(value)

    return run


def _negate(node: Negate) -> Run:
    operand = compile_node(node.operand).run
    return lambda attribute: bounded(-to_integer(operand(attribute)))


def _negated(run: Run, negated: bool) -> Run:
    return (lambda attribute: not run(attribute)) if negated else run


def _like(node: Like) -> Run:
    operand, matches = compile_node(node.operand).run, like.matcher(node.pattern)

    def run(attribute: Lookup) -> bool:
        value = operand(attribute)
        return matches(value if value.__class__ is str else string_of(value))

    return run


def _in(node: In) -> Run:
    """Members are cast to the type of the operand, one by one until one is equal."""
    operand, members = compile_node(node.operand).run, [compile_node(member).run for member in node.members]

    def run(attribute: Lookup) -> bool:
        value = operand(attribute)
        cast = CASTS[value.__class__]
        return any(value == cast(member(attribute)) for member in members)

    literals = [member.value for member in node.members if isinstance(member, Literal)]
    return _in_literals(operand, frozenset(map(string_of, literals)), run) if len(literals) == len(members) else run


def _in_literals(operand: Run, strings: frozenset[str], otherwise: Run) -> Run:
    """A String among literals, which never fail to be cast to one; `otherwise` for other types."""

    def run(attribute: Lookup) -> Value:
        value = operand(attribute)
        return value in strings if value.__class__ is str else otherwise(attribute)

    return run


def _logic(node: Logic) -> Run:
    """`x AND (y OR (z XOR …))` from the left: what is decided ends it, and XOR with true turns what comes after."""
    *heads, last = [_cast(compile_node(operand), bool) for operand in node.operands]
    if len(heads) == 1 and node.operators != ("XOR",):
        return _pair(heads[0], last, ends_on=node.operators == ("OR",))
    steps = list(zip(heads, (_ENDS_ON[operator] for operator in node.operators), strict=True))

    def run(attribute: Lookup) -> bool:
        turned = False
        for operand, ends_on in steps:
            value = operand(attribute)
            if value is ends_on:
                return value is not turned
            if ends_on is None:
                turned = value is not turned
        return last(attribute) is not turned

    return run


def _pair(left: Run, right: Run, *, ends_on: bool) -> Run:
    return lambda attribute: ends_on if left(attribute) is ends_on else right(attribute)


def _binary(node: Binary) -> Code:
    left, right = compile_node(node.left), compile_node(node.right)
    if node.operator in ("=", "!="):
        return Code(_negated(_equal(left, right), node.operator == "!="), bool)
    if node.operator in ARITHMETIC:
        return Code(_of_integers(left.run, right.run, ARITHMETIC[node.operator]), int)
    return Code(_of_integers(left.run, right.run, COMPARISONS[node.operator]), bool)


def _equal(left: Code, right: Code) -> Run:
    """The type of the right operand decides."""
    first, second = left.run, right.run

    def run(attribute: Lookup) -> bool:
        x, y = first(attribute), second(attribute)
        if x.__class__ is not y.__class__:
            x = CASTS[y.__class__](x)
        return x == y

    return run


def _of_integers(left: Run, right: Run, operate: Callable[[int, int], Value]) -> Run:
    def run(attribute: Lookup) -> Value:
        x, y = left(attribute), right(attribute)
        return operate(to_integer(x), to_integer(y))

    return run


def _call(node: Call) -> Code:
    function = functions.resolve(node.name, len(node.arguments))
    if function is None:
        return Code(_missing(node), bool)
    types = function.types(len(node.arguments))
    arguments = [_cast(compile_node(each), kind) for each, kind in zip(node.arguments, types, strict=True)]
    gather = _all_of(arguments) if function.rest is None else _texts(arguments)

    def run(attribute: Lookup) -> Value:
        values = gather(attribute)
        try:
            return function.call(*values)
        except Failure as failure:
            failure.owner = node.at
            raise

    return Code(run, function.returns)


def _missing(node: Call) -> Run:
    def run(attribute: Lookup) -> Value:
        count = len(node.arguments)
        raise Failure(Error.MISSING_FUNCTION, f"there is no function {node.name} of {count} arguments")

    return run


def _all_of(arguments: list[Run]) -> Callable[[Lookup], list[Value]]:
    return lambda attribute: [argument(attribute) for argument in arguments]


def _texts(arguments: list[Run]) -> Callable[[Lookup], list[Value]]:
    """Any number of strings, but never more of them in memory than one may hold."""

    def gather(attribute: Lookup) -> list[Value]:
        texts: list[Value] = []
        room = 2 * STRING_LIMIT  # a delimiter may be as long as a result, and not be in it
        for argument in arguments:
            text = argument(attribute)
            room -= len(text)  # type: ignore[arg-type]  # it is a str
            if room < 0:
                raise functions.too_long()
            texts.append(text)
        return texts

    return gather
