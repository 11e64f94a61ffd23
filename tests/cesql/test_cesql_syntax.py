"""The grammar: how operators group, and what is no expression, with its place and reason."""

import pytest

from wayside.eventing.cesql.expression import CesqlSyntaxError, Expression, Result
from wayside.eventing.cesql.parser import DEPTH_LIMIT, TEXT_LIMIT
from wayside.eventing.errors import WaysideError


def evaluate(text: str) -> tuple[Result, type]:
    """With the value's type, because 1 == True in Python."""
    result = Expression.parse(text).evaluate({"x": "true"}.get)
    return result, result.value.__class__


@pytest.mark.parametrize(
    ("text", "grouped"),
    [
        ("2 + 3 * 4", "2 + (3 * 4)"),
        ("20 / 2 / 5", "(20 / 2) / 5"),
        ("20 - 2 - 5", "(20 - 2) - 5"),
        ("7 % 4 * 2", "(7 % 4) * 2"),
        ("7 - 4 + 2", "(7 - 4) + 2"),
        ("-2 + 3", "(-2) + 3"),
        ("1 + 2 = 3", "(1 + 2) = 3"),
        ("5 > 3 = TRUE", "(5 > 3) = TRUE"),
        ("2 = 2 = 2", "(2 = 2) = 2"),
        ("3 > 2 > 0", "(3 > 2) > 0"),
        ("1 < 2 AND 2 < 1", "(1 < 2) AND (2 < 1)"),
        ("NOT TRUE OR TRUE", "(NOT TRUE) OR TRUE"),
        ("NOT FALSE = FALSE", "(NOT FALSE) = FALSE"),
        ("NOT x LIKE 'false'", "(NOT x) LIKE 'false'"),
        ("NOT x IN ('false')", "(NOT x) IN ('false')"),
        ("-1 IN (1)", "(-1) IN (1)"),
        ("- 1 LIKE '-1'", "(- 1) LIKE '-1'"),
        ("'a' = 'b' LIKE 'false'", "'a' = ('b' LIKE 'false')"),
        ("1 + 2 IN (2)", "1 + (2 IN (2))"),
        ("1 + 2 LIKE '3'", "1 + (2 LIKE '3')"),
        ("x LIKE 'true' IN (TRUE)", "(x LIKE 'true') IN (TRUE)"),
        ("x IN ('true') LIKE 'tr%'", "(x IN ('true')) LIKE 'tr%'"),
        ("FALSE AND FALSE OR TRUE", "FALSE AND (FALSE OR TRUE)"),
        ("TRUE OR FALSE AND FALSE", "TRUE OR (FALSE AND FALSE)"),
        ("TRUE XOR TRUE OR TRUE", "TRUE XOR (TRUE OR TRUE)"),
        ("TRUE AND TRUE XOR TRUE", "TRUE AND (TRUE XOR TRUE)"),
        ("TRUE XOR FALSE AND FALSE XOR TRUE", "TRUE XOR (FALSE AND (FALSE XOR TRUE))"),
    ],
)
def test_precedence_and_grouping(text: str, grouped: str) -> None:
    assert evaluate(text) == evaluate(grouped)


@pytest.mark.parametrize(
    ("grouped", "other"),
    [
        ("(FALSE AND FALSE) OR TRUE", "FALSE AND FALSE OR TRUE"),
        ("(20 - 2) - 5", "20 - (2 - 5)"),
        ("1 + (2 LIKE '3')", "(1 + 2) LIKE '3'"),
    ],
)
def test_grouping_matters_where_it_is_tested(grouped: str, other: str) -> None:
    assert evaluate(grouped) != evaluate(other)


@pytest.mark.parametrize(
    ("text", "line", "column", "reason"),
    [
        ("", 1, 1, "unexpected the end: a value should stand here"),
        ("  \n ", 2, 2, "unexpected the end: a value should stand here"),
        ("ABC(", 1, 5, "unexpected the end: a value should stand here"),
        ("a AND", 1, 6, "unexpected the end: a value should stand here"),
        ("a = = b", 1, 5, "unexpected '=': a value should stand here"),
        ("a b", 1, 3, "unexpected 'b': an operator or the end should stand here"),
        ("a\nAND\n\tb c", 3, 4, "unexpected 'c': an operator or the end should stand here"),
        ("(a", 1, 3, "unexpected the end: a parenthesis is not closed, ')' should stand here"),
        ("a)", 1, 2, "unexpected ')': an operator or the end should stand here"),
        ("()", 1, 2, "unexpected ')': a value should stand here"),
        ("x LIKE 123", 1, 8, "unexpected '123': LIKE takes a string literal"),
        ("x LIKE y", 1, 8, "unexpected 'y': LIKE takes a string literal"),
        ("x LIKE ('a')", 1, 8, "unexpected '(': LIKE takes a string literal"),
        ("x NOT = 1", 1, 7, "unexpected '=': after a value, NOT is followed by LIKE or IN"),
        ("x NOT 'LIKE'", 1, 7, "unexpected 'LIKE': after a value, NOT is followed by LIKE or IN"),
        ("x IN 'a'", 1, 6, "unexpected 'a': IN takes a set such as ('a', 'b'), '(' should stand here"),
        ("x IN ()", 1, 7, "unexpected ')': a value should stand here"),
        ("x IN ('a' 'b')", 1, 11, "unexpected 'b': a list is not closed, ')' should stand here"),
        ("x IN ('a',)", 1, 11, "unexpected ')': a value should stand here"),
        ("ABS(1,)", 1, 7, "unexpected ')': a value should stand here"),
        ("EXISTS 'a'", 1, 8, "unexpected 'a': EXISTS takes an attribute"),
        ("EXISTS (a)", 1, 8, "unexpected '(': EXISTS takes an attribute"),
        ("EXISTS like", 1, 8, "unexpected 'LIKE': EXISTS takes an attribute"),
        ("EXISTS 12", 1, 8, "unexpected '12': EXISTS takes an attribute"),
        ("a_b = 1", 1, 1, "'a_b' is no name of an attribute: letters and digits"),
        ("EXISTS a_b", 1, 8, "'a_b' is no name of an attribute: letters and digits"),
        ("F1(2)", 1, 1, "'F1' is no name of a function: letters and _"),
        ("_F(2)", 1, 1, "'_F' is no name of a function: letters and _"),
        ("TRUE(1)", 1, 5, "unexpected '(': an operator or the end should stand here"),
        ("+ 1", 1, 1, "a + before a value belongs to a number such as +1"),
        ("+x", 1, 1, "a + before a value belongs to a number such as +1"),
        ("2147483648", 1, 1, "'2147483648' is no integer from -2147483648 to 2147483647"),
        ("1 + -2147483649", 1, 5, "'-2147483649' is no integer from -2147483648 to 2147483647"),
        ("- 2147483648", 1, 3, "'2147483648' is no integer from -2147483648 to 2147483647"),
        ("9" * 200, 1, 1, f"'{'9' * 64}'… is no integer from -2147483648 to 2147483647"),
        ("a == b", 1, 4, "unexpected '=': a value should stand here"),
        ("a && b", 1, 3, "unexpected character '&'"),
        ("a ! b", 1, 3, "unexpected character '!'"),
        ("type\u00a0= 'a'", 1, 5, "unexpected character '\\xa0'"),
        ("größe = 1", 1, 3, "unexpected character 'ö'"),
        ("data.x = 1", 1, 5, "unexpected character '.'"),
        ("a = 'b", 1, 5, "the string that begins here is never closed: ' is missing"),
        ("a = 'b\"", 1, 5, "the string that begins here is never closed: ' is missing"),
        ('\n"b\\"', 2, 1, 'the string that begins here is never closed: " is missing'),
        ("a = '\ud800'", 1, 6, "a lone surrogate is no character"),
    ],
)
def test_what_is_no_expression(text: str, line: int, column: int, reason: str) -> None:
    with pytest.raises(CesqlSyntaxError) as caught:
        Expression.parse(text)
    assert (caught.value.line, caught.value.column, caught.value.reason) == (line, column, reason)
    assert str(caught.value) == f"line {line}, column {column}: {reason}"
    assert isinstance(caught.value, WaysideError)


@pytest.mark.parametrize("name", ["AND", "or", "XOR", "not", "LIKE", "exists", "IN"])
def test_keywords_are_no_attributes(name: str) -> None:
    with pytest.raises(CesqlSyntaxError):
        Expression.parse(f"{name} = 'a'")


@pytest.mark.parametrize("name", ["andy", "ore", "int", "abs", "trues", "0x", "1a", "a1"])
def test_names_that_only_begin_like_something_else_are_attributes(name: str) -> None:
    assert Expression.parse(f"{name} = 'a'").evaluate({name: "a"}.get) == Result(True)


@pytest.mark.parametrize(
    ("levels", "text"),
    [
        (DEPTH_LIMIT - 1, "({})"),
        (DEPTH_LIMIT - 1, "NOT {}"),
        (DEPTH_LIMIT - 1, "- {}"),
        (DEPTH_LIMIT - 1, "CONCAT({})"),
        (DEPTH_LIMIT - 1, "'true' IN ({})"),
        (DEPTH_LIMIT - 1, "{} = TRUE"),
        (DEPTH_LIMIT - 1, "{} LIKE 'true'"),
        (DEPTH_LIMIT // 4 - 1, "TRUE AND 1 = 1 + 1 * ({})"),
    ],
)
def test_nesting_is_bounded(levels: int, text: str) -> None:
    deep = "TRUE"
    for _ in range(levels):
        deep = text.format(deep)
    Expression.parse(deep).evaluate({}.get)
    for _ in range(DEPTH_LIMIT - levels + 1):
        deep = text.format(deep)
    with pytest.raises(CesqlSyntaxError, match="nested too deep: more than 100 levels"):
        Expression.parse(deep)


@pytest.mark.parametrize(
    ("head", "repeated", "tail", "expected"),
    [
        ("FALSE", " OR FALSE", " OR TRUE", True),
        ("TRUE", " AND TRUE", " AND FALSE", False),
        ("FALSE", " XOR TRUE XOR TRUE", "", False),
        ("'b' IN ('a'", ", 'a'", ", 'b')", True),
        ("LENGTH(CONCAT('a'", ", 'a'", ")) > 1000", True),
    ],
)
def test_long_lists_are_no_nesting(head: str, repeated: str, tail: str, expected: bool) -> None:
    assert evaluate(head + repeated * 3000 + tail) == (Result(expected), bool)


def test_the_length_is_bounded() -> None:
    assert evaluate("TRUE".ljust(TEXT_LIMIT)) == (Result(True), bool)
    with pytest.raises(CesqlSyntaxError, match="longer than 65536 characters"):
        Expression.parse("TRUE".ljust(TEXT_LIMIT + 1))
