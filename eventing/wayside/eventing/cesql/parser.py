"""The grammar: an expression's text in, its syntax tree out.

Source: cloudevents/spec c2845a4, cesql/CESQLParser.g4 and spec.md sections 2 and 3.6. An operator precedence parser.
NOT and - bind tightest; then LIKE and IN; then * / %; then + -; then comparisons, all grouped from the left; then AND,
OR and XOR, of one rank and grouped from the right as the grammar says and Knative does, which the prose's "left to
right" says of the order of evaluation only.
Invariant: whatever the text, the answer is a tree no higher than `DEPTH_LIMIT`, or a `CesqlSyntaxError` with the place.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from wayside.eventing.cesql.errors import CesqlSyntaxError
from wayside.eventing.cesql.lexer import Kind, Token, tokens
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
from wayside.eventing.cesql.values import INTEGER_MAX, INTEGER_MIN, parse_integer, quoted

# in characters
TEXT_LIMIT: Final = 1 << 16
# how many operators, calls and parentheses may stand inside each other
DEPTH_LIMIT: Final = 100
_LOGIC: Final = frozenset(("AND", "OR", "XOR"))
_COMPARISON, _ADDITIVE, _MULTIPLICATIVE, _POSTFIX = 1, 2, 3, 4
_RANKS: Mapping[str, int] = {
    **dict.fromkeys(("=", "!=", "<>", "<", "<=", ">", ">="), _COMPARISON),
    **dict.fromkeys(("+", "-"), _ADDITIVE),
    **dict.fromkeys(("*", "/", "%"), _MULTIPLICATIVE),
    **dict.fromkeys(("LIKE", "IN", "NOT"), _POSTFIX),
}
_FUNCTION_NAME = re.compile(r"[A-Za-z][A-Za-z_]*")


def parse(text: str) -> Node:
    """The tree of an expression. Raises `CesqlSyntaxError`."""
    if len(text) > TEXT_LIMIT:
        raise CesqlSyntaxError.at(text, TEXT_LIMIT, f"the expression is longer than {TEXT_LIMIT} characters")
    return _Parser(text).parse()


class _Parser:
    """One text's parser: `_token` is the next token, `_after` the one behind it."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = tokens(text)
        self._token = next(self._tokens)
        self._depth = 0

    def parse(self) -> Node:
        node = self._expression()
        if self._token.kind is not Kind.END:
            raise self._refusal(f"unexpected {self._token}: an operator or the end should stand here")
        return node

    def _expression(self) -> Node:
        """AND, OR and XOR, and all that binds tighter."""
        operands = [self._ranked(_COMPARISON)]
        operators: list[str] = []
        first = self._token
        while self._is(Kind.KEYWORD) and self._token.text in _LOGIC:
            operators.append(self._take().text)
            operands.append(self._ranked(_COMPARISON))
        if not operators:
            return operands[0]
        return Logic(first.at, self._above(first, operands), tuple(operands), tuple(operators))

    def _ranked(self, lowest: int) -> Node:
        """An expression of operators of a rank, or of a higher one."""
        self._descend()
        node = self._operand()
        while self._rank() >= lowest:
            node = self._postfix(node) if self._rank() == _POSTFIX else self._binary(node)
        self._depth -= 1
        return node

    def _rank(self) -> int:
        has_rank = self._token.kind in (Kind.KEYWORD, Kind.SYMBOL)
        return _RANKS.get(self._token.text, 0) if has_rank else 0

    def _binary(self, left: Node) -> Node:
        rank = self._rank()
        operator = self._take()
        right = self._ranked(rank + 1)
        text = "!=" if operator.text == "<>" else operator.text
        return Binary(operator.at, self._above(operator, (left, right)), text, left, right)

    def _postfix(self, operand: Node) -> Node:
        """[NOT] LIKE 'pattern', or [NOT] IN (…)."""
        first = self._take()
        negated = first.text == "NOT"
        if negated and not (self._is(Kind.KEYWORD) and self._token.text in ("LIKE", "IN")):
            raise self._refusal(f"unexpected {self._token}: after a value, NOT is followed by LIKE or IN")
        test = self._take().text if negated else first.text
        if test == "LIKE":
            pattern = self._expect(Kind.STRING, "LIKE takes a string literal").text
            return Like(first.at, self._above(first, (operand,)), operand, pattern, negated)
        self._symbol("(", "IN takes a set such as ('a', 'b')")
        members = self._list()
        return In(first.at, self._above(first, (operand, *members)), operand, members, negated)

    def _operand(self) -> Node:
        """What operators stand between, with the prefix operators before it."""
        token = self._take()
        match token.kind, token.text:
            case Kind.STRING, text:
                return Literal(token.at, 1, text)
            case Kind.INTEGER, digits:
                return self._integer(token, digits)
            case Kind.NAME, _:
                return self._named(token)
            case Kind.KEYWORD, ("TRUE" | "FALSE") as word:
                return Literal(token.at, 1, word == "TRUE")
            case Kind.KEYWORD, "EXISTS":
                return Exists(token.at, 1, self._attribute_name(self._expect(Kind.NAME, "EXISTS takes an attribute")))
            case Kind.KEYWORD, "NOT":
                operand = self._prefixed()
                return Not(token.at, self._above(token, (operand,)), operand)
            case Kind.SYMBOL, ("+" | "-"):
                return self._signed(token)
            case Kind.SYMBOL, "(":
                node = self._expression()
                self._symbol(")", "a parenthesis is not closed")
                return node
        raise self._refusal(f"unexpected {token}: a value should stand here", token)

    def _prefixed(self) -> Node:
        """What a prefix operator applies to: it binds tighter than all that may follow."""
        self._descend()
        node = self._operand()
        self._depth -= 1
        return node

    def _signed(self, sign: Token) -> Node:
        """A sign that touches a number is the number's own; any other - negates."""
        if self._is(Kind.INTEGER) and self._token.at == sign.at + 1:
            return self._integer(sign, sign.text + self._take().text)
        if sign.text == "+":
            raise self._refusal("a + before a value belongs to a number such as +1", sign)
        operand = self._prefixed()
        return Negate(sign.at, self._above(sign, (operand,)), operand)

    def _integer(self, token: Token, digits: str) -> Node:
        value = parse_integer(digits)
        if value is None:
            raise self._refusal(f"{quoted(digits)} is no integer from {INTEGER_MIN} to {INTEGER_MAX}", token)
        return Literal(token.at, 1, value)

    def _named(self, token: Token) -> Node:
        """A function call, or an attribute."""
        if not (self._is(Kind.SYMBOL) and self._token.text == "("):
            return Attribute(token.at, 1, self._attribute_name(token))
        if _FUNCTION_NAME.fullmatch(token.text) is None:
            raise self._refusal(f"{token} is no name of a function: letters and _", token)
        self._take()
        empty = self._is(Kind.SYMBOL) and self._token.text == ")"
        arguments = () if empty else self._list()
        if empty:
            self._take()
        return Call(token.at, self._above(token, arguments), token.text.upper(), arguments)

    def _attribute_name(self, token: Token) -> str:
        """The prose has lower case only; the conformance kit writes SOURCE for source, so any case will do."""
        if "_" in token.text:
            raise self._refusal(f"{token} is no name of an attribute: letters and digits", token)
        return token.text.lower()

    def _list(self) -> tuple[Node, ...]:
        """One expression or more between commas, and the parenthesis that closes them."""
        nodes = [self._expression()]
        while self._is(Kind.SYMBOL) and self._token.text == ",":
            self._take()
            nodes.append(self._expression())
        self._symbol(")", "a list is not closed")
        return tuple(nodes)

    def _descend(self) -> None:
        """Every recursion comes through here: the stack is bounded before the tree is."""
        self._depth += 1
        if self._depth > DEPTH_LIMIT:
            raise self._too_deep(self._token)

    def _above(self, token: Token, children: Sequence[Node]) -> int:
        """The height of a node over these children."""
        height = 1 + max((child.height for child in children), default=0)
        if height > DEPTH_LIMIT:
            raise self._too_deep(token)
        return height

    def _is(self, kind: Kind) -> bool:
        return self._token.kind is kind

    def _take(self) -> Token:
        token = self._token
        if token.kind is not Kind.END:
            self._token = next(self._tokens)
        return token

    def _expect(self, kind: Kind, reason: str) -> Token:
        if not self._is(kind):
            raise self._refusal(f"unexpected {self._token}: {reason}")
        return self._take()

    def _symbol(self, text: str, reason: str) -> None:
        if not (self._is(Kind.SYMBOL) and self._token.text == text):
            raise self._refusal(f"unexpected {self._token}: {reason}, {text!r} should stand here")
        self._take()

    def _too_deep(self, token: Token) -> CesqlSyntaxError:
        return self._refusal(f"nested too deep: more than {DEPTH_LIMIT} levels", token)

    def _refusal(self, reason: str, token: Token | None = None) -> CesqlSyntaxError:
        return CesqlSyntaxError.at(self._text, (token or self._token).at, reason)
