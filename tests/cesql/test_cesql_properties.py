"""Laws that hold for any values: arithmetic is that of 32 bits, casts go there and back, sets are comparisons."""

from hypothesis import given
from hypothesis import strategies as st

from wayside.eventing.cesql.expression import Error, Expression, Result, Value

INTEGERS = st.integers(-(2**31), 2**31 - 1) | st.sampled_from([-(2**31), 2**31 - 1, 0, -1, 1])
STRINGS = st.text(max_size=12) | st.sampled_from(["true", "FALSE", "0", "-7", "2147483648"])
VALUES = INTEGERS | STRINGS | st.booleans()
ANY = {
    text: Expression.parse(text)
    for text in (
        *(f"x {operator} y" for operator in ("+", "-", "*", "/", "%", "=", "!=", "<", "<=", ">", ">=")),
        *("x AND y", "x OR y", "x XOR y", "x IN (y)", "x NOT IN (y, y)", "x IN (y, 'a', 1)", "x LIKE '%a_'"),
        *("-x", "NOT x", "INT(x)", "BOOL(x)", "STRING(x)", "ABS(x)", "LEFT(x, y)", "RIGHT(x, y)", "SUBSTRING(x, y)"),
        *("SUBSTRING(x, 1, y)", "CONCAT_WS(x, y, x)", "TRIM(x)", "UPPER(x)", "LOWER(y)", "LENGTH(x)"),
    )
}


def evaluate(text: str, **values: Value) -> Result:
    return ANY[text].evaluate(values.get)


@given(INTEGERS, INTEGERS)
def test_arithmetic_is_exact_or_an_error(x: int, y: int) -> None:
    exact = {"+": x + y, "-": x - y, "*": x * y}
    if y:
        quotient = abs(x) // abs(y) * (1 if (x < 0) == (y < 0) else -1)
        exact |= {"/": quotient, "%": x - y * quotient}
    for operator in "+-*/%":
        result = evaluate(f"x {operator} y", x=x, y=y)
        value = exact.get(operator, 2**31)
        if -(2**31) <= value < 2**31:
            assert result == Result(value)
        else:
            assert (result.value, result.error) == (0, Error.MATH)


@given(VALUES)
def test_casts_to_a_string_and_back_change_nothing(x: Value) -> None:
    text = evaluate("STRING(x)", x=x)
    assert text.error is None
    back = {str: "STRING(x)", int: "INT(x)", bool: "BOOL(x)"}[x.__class__]
    assert evaluate(back, x=text.value) == Result(x)


@given(VALUES, VALUES)
def test_every_operator_is_total(x: Value, y: Value) -> None:
    for expression in ANY.values():
        result = expression.evaluate({"x": x, "y": y}.get)
        assert result.value.__class__ in (str, int, bool)
        assert expression.evaluate({"x": x}.get).error in (None, Error.MISSING_ATTRIBUTE, Error.CAST, Error.MATH)


@given(VALUES, VALUES)
def test_equality_has_its_opposite_and_sets_cast_the_other_way(x: Value, y: Value) -> None:
    equal, unequal = evaluate("x = y", x=x, y=y), evaluate("x != y", x=x, y=y)
    assert equal.error == unequal.error
    assert equal.error or equal.value is not unequal.value
    assert evaluate("x IN (y)", x=x, y=y) == evaluate("x = y", x=y, y=x)


@given(st.lists(st.booleans(), min_size=2, max_size=8), st.data())
def test_logic_groups_from_the_right(values: list[bool], data: st.DataObject) -> None:
    operators = [data.draw(st.sampled_from(["AND", "OR", "XOR"])) for _ in values[1:]]
    text, wanted = str(values[-1]), values[-1]
    for value, operator in zip(values[-2::-1], reversed(operators), strict=True):
        text = f"{value} {operator} {text}"
        wanted = {"AND": value and wanted, "OR": value or wanted, "XOR": value is not wanted}[operator]
    assert Expression.parse(text).evaluate({}.get) == Result(wanted)
