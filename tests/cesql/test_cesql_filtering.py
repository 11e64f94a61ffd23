"""Expressions as filters of events: what passes, what never does, and what bounds hold while they run."""

import tracemalloc

import pytest

from wayside.eventing.cesql.expression import Error, Expression, Result
from wayside.eventing.cesql.values import STRING_LIMIT
from wayside.eventing.event import CloudEvent

EVENT = CloudEvent(
    id="e-1",
    source="/ns/model",
    type="org.kubeflow.serving.inference.request",
    subject="row",
    extensions={"inferenceservicename": "a", "attempt": "3", "flag": "true"},
    data=b"{}",
)


@pytest.mark.parametrize(
    ("text", "passes"),
    [
        ("type LIKE '%.request' AND inferenceservicename IN ('a', 'b')", True),
        ("type LIKE '%.response' AND inferenceservicename IN ('a', 'b')", False),
        ("type LIKE '%.request' AND inferenceservicename IN ('b', 'c')", False),
        ("attempt < 5 AND subject = 'row' AND EXISTS time", False),
        ("specversion = '1.0'", True),
        ("EXISTS subject AND NOT EXISTS data", True),
        ("TRUE", True),
        ("FALSE", False),
        ("flag", False),
        ("flag = TRUE", True),
        ("BOOL(flag)", True),
        ("1", False),
        ("'true'", False),
        ("nothere", False),
        ("NOT nothere", False),
        ("nothere != 'a'", False),
        ("NOT 10", False),
        ("TRUE OR nothere", True),
        ("data = '{}'", False),
    ],
)
def test_only_true_without_an_error_passes(text: str, passes: bool) -> None:
    expression = Expression.parse(text)
    assert expression.passes(EVENT) is passes
    assert expression.evaluate(EVENT.attribute).passes is passes


def test_an_expression_is_a_value() -> None:
    expression = Expression.parse("id = 'a'")
    assert expression == Expression.parse("id = 'a'") != Expression.parse("id = 'b'")
    assert hash(expression) == hash(Expression.parse("id = 'a'"))
    assert repr(expression) == "Expression(text=\"id = 'a'\")"


def result_of(text: str, **attributes: str) -> Result:
    return Expression.parse(text).evaluate(attributes.get)


def test_a_huge_attribute_is_an_error_only_where_it_is_read() -> None:
    longest, too_long = "a" * STRING_LIMIT, "a" * (STRING_LIMIT + 1)
    assert result_of("x LIKE 'a%'", x=longest) == Result(True)
    reason = "attribute 'x' is longer than 65536 characters"
    assert result_of("x LIKE 'a%'", x=too_long) == Result(False, Error.GENERIC, reason)
    assert result_of("EXISTS x AND y = 'b'", x=too_long, y="b") == Result(True)


@pytest.mark.parametrize(
    "text",
    [
        "CONCAT(x, x)",
        "CONCAT(CONCAT(x), CONCAT(x))",
        "CONCAT_WS(x, '', '', '')",
        "UPPER(sharp)",
        "CONCAT_WS(x" + ", ''" * 10_000 + ")",
        "CONCAT(" + ", ".join(["UPPER(x)"] * 5000) + ")",
    ],
)
def test_results_are_bounded(text: str) -> None:
    expression = Expression.parse(text)
    attributes = {"x": "a" * STRING_LIMIT, "sharp": "ß" * STRING_LIMIT}
    tracemalloc.start()
    try:
        result = expression.evaluate(attributes.get)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert result == Result("", Error.FUNCTION_EVALUATION, "the result is longer than 65536 characters")
    assert peak < 16 * STRING_LIMIT


def test_the_longest_result_is_one() -> None:
    half = "a" * (STRING_LIMIT // 2)
    assert result_of("LENGTH(CONCAT(x, x))", x=half) == Result(STRING_LIMIT)
    assert result_of("CONCAT_WS(x, 'a')", x="a" * STRING_LIMIT) == Result("a")
