"""The words of an expression: text in, tokens out.

Source: cloudevents/spec c2845a4, cesql/CESQLLexer.g4 and spec.md section 2.2. A sign is a token of its own here, and
the parser decides whether it belongs to a number: by the grammar's letter `ttl-1` would be no expression.
Invariant: linear in the text, and every character is in a token or in the space between two.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto

from wayside.eventing.cesql.errors import CesqlSyntaxError
from wayside.eventing.cesql.values import quoted

KEYWORDS = frozenset(("AND", "OR", "XOR", "NOT", "LIKE", "EXISTS", "IN", "TRUE", "FALSE"))
_TOKEN = re.compile(
    r"""[ \t\r\n]*(?:
      (?P<STRING> '[^'\\]*(?:(?:\\.|'')[^'\\]*)*' | "[^"\\]*(?:(?:\\.|"")[^"\\]*)*" )
    | (?P<WORD> [A-Za-z0-9_]+ )
    | (?P<SYMBOL> != | <> | >= | <= | [=<>+\-*/%(),] )
    | (?P<END> \Z )
    )""",
    re.VERBOSE | re.DOTALL,
)
_SPACE = re.compile(r"[ \t\r\n]*")
_SURROGATE = re.compile("[\ud800-\udfff]")


class Kind(Enum):
    """What a token is. Keywords and symbols are told apart by their text."""

    STRING = auto()
    INTEGER = auto()
    NAME = auto()
    KEYWORD = auto()
    SYMBOL = auto()
    END = auto()


@dataclass(frozen=True, slots=True)
class Token:
    """A token, its text (a keyword in upper case, a string without its quotes and their escapes), and its offset."""

    kind: Kind
    text: str
    at: int

    def __str__(self) -> str:
        return "the end" if self.kind is Kind.END else quoted(self.text)


def tokens(text: str) -> Iterator[Token]:
    """Every token of a text, the last one of kind END. Raises `CesqlSyntaxError`, in its turn."""
    surrogate = _SURROGATE.search(text)
    if surrogate is not None:
        raise CesqlSyntaxError.at(text, surrogate.start(), "a lone surrogate is no character")
    at = 0
    while True:
        match = _TOKEN.match(text, at)
        if match is None or match.lastgroup is None:
            raise _refusal(text, at)
        token = _token(match.lastgroup, match[match.lastgroup], match.start(match.lastgroup))
        yield token
        if token.kind is Kind.END:
            return
        at = match.end()


def _token(group: str, text: str, at: int) -> Token:
    if group != "WORD":
        return Token(Kind[group], _unquoted(text) if group == "STRING" else text, at)
    if text.upper() in KEYWORDS:
        return Token(Kind.KEYWORD, text.upper(), at)
    return Token(Kind.INTEGER if text.isdecimal() else Kind.NAME, text, at)


def _unquoted(literal: str) -> str:
    r"""What a string literal says. Its quote is written `\'` or `''`; every other backslash stands for itself."""
    quote = literal[0]
    inner = literal[1:-1]
    if quote not in inner:
        return inner
    return re.sub(rf"(\\.)|{quote}{quote}", lambda pair: _unescaped(pair[0], quote), inner, flags=re.DOTALL)


def _unescaped(pair: str, quote: str) -> str:
    return quote if pair[1] == quote else pair


def _refusal(text: str, at: int) -> CesqlSyntaxError:
    space = _SPACE.match(text, at)
    start = space.end() if space else at
    if text[start] in "'\"":
        return CesqlSyntaxError.at(
            text, start, f"the string that begins here is never closed: {text[start]} is missing"
        )
    return CesqlSyntaxError.at(text, start, f"unexpected character {text[start]!r}")
