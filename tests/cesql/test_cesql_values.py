"""What expressions evaluate to: every operator, function and cast, with the errors that carry a value."""

import pytest

from wayside.eventing.cesql.expression import Error, Expression, Result, Value

ATTRIBUTES: dict[str, Value] = {
    "specversion": "1.0",
    "id": "e-1",
    "source": "/ns/model",
    "type": "org.kubeflow.serving.inference.request",
    "attempt": "3",
    "limit": 5,
    "huge": 2**31,
    "cached": True,
    "note": "Grün ist's",
    "1st": "first",
    "empty": "",
}
MAX, MIN = 2147483647, -2147483648


def value_of(text: str) -> tuple[Value, str | None]:
    result = Expression.parse(text).evaluate(ATTRIBUTES.get)
    return result.value, result.error


def check(text: str, expected: Value, error: str | None = None) -> None:
    value, found = value_of(text)
    assert (value, value.__class__, found) == (expected, expected.__class__, error)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0),
        ("007", 7),
        ("+7", 7),
        ("-7", -7),
        ("2147483647", MAX),
        ("-2147483648", MIN),
        ("00000000000000000001", 1),
        ("TrUe", True),
        ("faLSE", False),
        ("''", ""),
        ('""', ""),
        ("'two words'", "two words"),
        ("'a\nb'", "a\nb"),
        (r"'it\'s'", "it's"),
        ("'it''s'", "it's"),
        (r'"say \"hi\""', 'say "hi"'),
        ('"say ""hi"""', 'say "hi"'),
        (r"'a\"b'", r"a\"b"),
        (r'"a\'b"', r"a\'b"),
        (r"'back\slash\\'", r"back\slash\\"),
        ("'Grün 😀'", "Grün 😀"),
        (" \t\r\n1\n", 1),
    ],
)
def test_literals(text: str, expected: Value) -> None:
    check(text, expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("id", "e-1"),
        ("ID", "e-1"),
        ("Type", "org.kubeflow.serving.inference.request"),
        ("limit", 5),
        ("cached", True),
        ("1st", "first"),
        ("empty", ""),
        ("huge", "2147483648"),
        ("EXISTS attempt", True),
        ("exists ATTEMPT", True),
        ("EXISTS nothere", False),
        ("NOT EXISTS nothere", True),
        ("EXISTS data", False),
    ],
)
def test_attributes(text: str, expected: Value) -> None:
    check(text, expected)


@pytest.mark.parametrize("name", ["specversion", "id", "source", "type"])
def test_required_attributes_exist_always(name: str) -> None:
    assert Expression.parse(f"EXISTS {name}").evaluate({}.get) == Result(True)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nothere", False),
        ("NOT nothere", False),
        ("-nothere", 0),
        ("nothere + 1", 0),
        ("1 / nothere", 0),
        ("nothere % 0", 0),
        ("nothere = ''", False),
        ("nothere != ''", False),
        ("'a' <> nothere", False),
        ("nothere < 1", False),
        ("nothere LIKE '%'", False),
        ("nothere NOT LIKE 'a'", False),
        ("nothere IN ('a')", False),
        ("nothere NOT IN ('a')", False),
        ("'a' IN ('b', nothere)", False),
        ("nothere AND FALSE", False),
        ("nothere OR TRUE", False),
        ("FALSE OR nothere", False),
        ("TRUE XOR nothere", False),
        ("UPPER(nothere)", ""),
        ("LENGTH(nothere)", 0),
        ("BOOL(nothere)", False),
        ("CONCAT('a', nothere)", ""),
        ("LENGTH(nothere) = 0", False),
        ("((nothere))", False),
        ("data", False),
    ],
)
def test_a_missing_attribute_gives_the_zero_value_of_what_it_stands_in(text: str, expected: Value) -> None:
    check(text, expected, "missingAttribute")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("FALSE AND nothere", False),
        ("TRUE OR nothere", True),
        ("FALSE AND 1 / 0 = 1", False),
        ("TRUE OR NO_FUNCTION()", True),
        ("TRUE OR FALSE OR nothere", True),
        ("TRUE AND TRUE OR nothere", True),
        ("'a' IN ('a', nothere)", True),
        ("EXISTS nothere AND nothere = 'a'", False),
    ],
)
def test_what_is_decided_evaluates_no_further(text: str, expected: Value) -> None:
    check(text, expected)


@pytest.mark.parametrize("left", ["TRUE", "FALSE"])
@pytest.mark.parametrize("right", ["TRUE", "FALSE"])
def test_logic(left: str, right: str) -> None:
    x, y = left == "TRUE", right == "TRUE"
    check(f"{left} AND {right}", x and y)
    check(f"{left} or {right}", x or y)
    check(f"{left} Xor {right}", x != y)
    check(f"{left} = {right}", x == y)
    check(f"{left} != {right}", x != y)
    check(f"{left} <> {right}", x != y)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("NOT TRUE", False),
        ("NOT 'false'", True),
        ("NOT NOT cached", True),
        ("'TRUE' AND 'True'", True),
        ("1 AND 'true'", True),
        ("0 OR -5", True),
        ("0 XOR 0", False),
    ],
)
def test_operands_of_logic_are_cast(text: str, expected: Value) -> None:
    check(text, expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 = 1", True),
        ("1 = 2", False),
        ("1 != 2", True),
        ("'a' = 'a'", True),
        ("'a' = 'A'", False),
        ("'a' <> 'A'", True),
        ("attempt = 3", True),
        ("3 = attempt", True),
        ("'03' = 3", True),
        ("3 = '03'", False),
        ("TRUE = 'true'", True),
        ("TRUE = 'TRUE'", False),
        ("'TRUE' = TRUE", True),
        ("TRUE = 1", True),
        ("1 = TRUE", True),
        ("2 = TRUE", True),
        ("TRUE = 2", False),
        ("TRUE != '1'", True),
        ("attempt < limit", True),
        ("attempt <= 3", True),
        ("attempt > '3'", False),
        ("attempt >= 3", True),
        ("'10' > '9'", True),
        ("TRUE > FALSE", True),
        ('note = "Grün ist\'s"', True),
    ],
)
def test_comparisons(text: str, expected: Value) -> None:
    check(text, expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2 + 3", 5),
        ("2 - 3", -1),
        ("2 * -3", -6),
        ("7 / 2", 3),
        ("-7 / 2", -3),
        ("7 / -2", -3),
        ("-7 / -2", 3),
        ("7 % 2", 1),
        ("-7 % 2", -1),
        ("7 % -2", 1),
        ("-7 % -2", -1),
        ("-1 / 2", 0),
        ("-2147483648 % -1", 0),
        ("2147483646 + 1", MAX),
        ("-2147483647 - 1", MIN),
        ("65536 * -32768", MIN),
        ("-2147483648 / 1", MIN),
        ("-2147483647 / -1", MAX),
        ("'5' + TRUE", 6),
        ("attempt * attempt", 9),
        ("4-1", 3),
        ("4 -1", 3),
        ("4--1", 5),
        ("4+-1", 3),
        ("attempt-1", 2),
        ("--10", 10),
        ("- 10", -10),
        ("-(10)", -10),
        ("---1", -1),
        ("-'10'", -10),
        ("-TRUE", -1),
        ("-attempt", -3),
    ],
)
def test_arithmetic(text: str, expected: Value) -> None:
    check(text, expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2147483647 + 1", 0),
        ("-2147483648 - 1", 0),
        ("1 - -2147483648", 0),
        ("65536 * 32768", 0),
        ("-65536 * 32769", 0),
        ("-2147483648 / -1", 0),
        ("-2147483648 * -1", 0),
        ("--2147483648", 0),
        ("1 / 0", 0),
        ("0 / 0", 0),
        ("1 % 0", 0),
        ("2147483647 + 1 = -2147483648", False),
        ("1 / 0 = 0", False),
        ("NOT (1 / 0)", False),
        ("STRING(1 / 0)", ""),
        ("ABS(-2147483648)", MAX),
        ("ABS(-2147483648) = 2147483647", False),
        ("ABS(-2147483648) - 1", 0),
    ],
)
def test_math_errors(text: str, expected: Value) -> None:
    check(text, expected, "math")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("INT('')", 0),
        ("INT(' 1')", 0),
        ("INT('1.0')", 0),
        ("INT('1_0')", 0),
        ("INT('+-1')", 0),
        ("INT('٣')", 0),
        ("INT('2147483648')", 0),
        ("INT('-2147483649')", 0),
        ("huge + 1", 0),
        ("BOOL('yes')", False),
        ("BOOL('')", False),
        ("BOOL('1')", False),
        ("'a' + 1", 0),
        ("1 * 'b'", 0),
        ("-'x'", 0),
        ("'a' < 1", False),
        ("'a' = 1", False),
        ("'a' != 1", False),
        ("'yes' = TRUE", False),
        ("'yes' AND TRUE", False),
        ("FALSE OR 'yes'", False),
        ("TRUE XOR id", False),
        ("NOT 'yes'", False),
        ("NOT 10", True),
        ("NOT 0", True),
        ("NOT limit", True),
        ("NOT (NOT 10)", False),
        ("NOT 10 OR TRUE", False),
        ("1 IN ('a', '1')", False),
        ("TRUE NOT IN ('x')", False),
        ("LEFT('abc', 'x')", ""),
        ("ABS('x')", 0),
    ],
)
def test_cast_errors(text: str, expected: Value) -> None:
    check(text, expected, "cast")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("'a' IN ('a')", True),
        ("'a' IN ('b', 'c')", False),
        ("'a' NOT IN ('b')", True),
        ("'a' not in ('b', 'a')", False),
        ("1 IN ('1')", True),
        ("1 IN ('01')", True),
        ("'1' IN (1)", True),
        ("'01' IN (1)", False),
        ("TRUE IN ('TRUE')", True),
        ("'TRUE' IN (TRUE)", False),
        ("TRUE IN (1)", True),
        ("TRUE IN (2)", True),
        ("1 IN (TRUE)", True),
        ("2 IN (TRUE)", False),
        ("id IN ('x', id)", True),
        ("limit IN (attempt + 2)", True),
        ("3 IN (1 + 1, 1 + 2)", True),
        ("attempt IN (1, 2, 3)", True),
        ("limit IN ('4', '5')", True),
        ("'a' IN ('a') IN (TRUE)", True),
    ],
)
def test_sets(text: str, expected: Value) -> None:
    check(text, expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("INT('2147483647')", MAX),
        ("INT('-2147483648')", MIN),
        ("INT('+12')", 12),
        ("int('-0')", 0),
        ("INT(TRUE)", 1),
        ("INT(FALSE)", 0),
        ("BOOL('tRuE')", True),
        ("BOOL(0)", False),
        ("BOOL(-1)", True),
        ("STRING(-5)", "-5"),
        ("STRING(007)", "7"),
        ("STRING(TRUE)", "true"),
        ("STRING('x')", "x"),
        ("STRING(cached)", "true"),
        ("ABS(-2147483647)", MAX),
        ("ABS('-3')", 3),
        ("ABS(TRUE)", 1),
        ("LENGTH('Grün 😀')", 6),
        ("LENGTH(100)", 3),
        ("length (empty)", 0),
        ("CONCAT()", ""),
        ("CONCAT('a', 1, TRUE)", "a1true"),
        ("CONCAT_WS(', ')", ""),
        ("CONCAT_WS(', ', 'a')", "a"),
        ("Concat_Ws('-', 'a', '', 3)", "a--3"),
        ("LOWER('ÄbC')", "äbc"),
        ("UPPER('äbC')", "ÄBC"),
        ("UPPER('ß')", "SS"),
        ("TRIM('\t\n \u00a0\u2003\u3000a b\u0085 ')", "a b"),
        ("TRIM('\x1c\x1fa\x00\u200b')", "\x1c\x1fa\x00\u200b"),
        ("LEFT('abc', 0)", ""),
        ("LEFT('abc', 2)", "ab"),
        ("LEFT('abc', 9)", "abc"),
        ("RIGHT('abc', 0)", ""),
        ("RIGHT('abc', 2)", "bc"),
        ("RIGHT('abc', 9)", "abc"),
        ("RIGHT(12345, '2')", "45"),
        ("SUBSTRING('abc', 1)", "abc"),
        ("SUBSTRING('abc', 3)", "c"),
        ("SUBSTRING('abc', -3)", "abc"),
        ("SUBSTRING('abc', 0)", ""),
        ("SUBSTRING('', 0)", ""),
        ("SUBSTRING('abcdef', 2, 3)", "bcd"),
        ("SUBSTRING('abcdef', -2, 1)", "e"),
        ("SUBSTRING('abcdef', 5, 2147483647)", "ef"),
        ("SUBSTRING('abcdef', 2, 0)", ""),
        ("SUBSTRING('abcdef', 0, 3)", ""),
    ],
)
def test_functions(text: str, expected: Value) -> None:
    check(text, expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("LEFT('abc', -1)", "abc"),
        ("RIGHT('abc', -2147483648)", "abc"),
        ("CONCAT(LEFT('abc', -1), 'd')", ""),
        ("LEFT('abc', -1) = 'abc'", False),
        ("SUBSTRING('abc', 4)", ""),
        ("SUBSTRING('abc', -4)", ""),
        ("SUBSTRING('', 1)", ""),
        ("SUBSTRING('abc', 4, 1)", ""),
        ("SUBSTRING('abc', 1, -1)", ""),
        ("SUBSTRING('abc', 0, -1)", ""),
    ],
)
def test_function_errors(text: str, expected: Value) -> None:
    check(text, expected, "functionEvaluation")


@pytest.mark.parametrize(
    "text",
    ["NONE()", "none(1, 2)", "CONCAT_WS()", "ABS()", "ABS(1, 2)", "SUBSTRING('a')", "SUBSTRING('a', 1, 1, 1)", "INT()"],
)
def test_a_function_that_is_not_there_is_an_error_and_false(text: str) -> None:
    check(text, False, "missingFunction")
    check(f"{text} = 1", False, "missingFunction")


@pytest.mark.parametrize(
    ("text", "error", "reason"),
    [
        ("a = nothere", Error.MISSING_ATTRIBUTE, "the event has no attribute 'a'"),
        ("id + 1", Error.CAST, "'e-1' is no integer of 32 bits"),
        ("1 / 0", Error.MATH, "division by zero"),
        ("SUM(1)", Error.MISSING_FUNCTION, "there is no function SUM of 1 arguments"),
        ("LEFT(id, -1)", Error.FUNCTION_EVALUATION, "LEFT of -1 characters"),
        ("NOT 10", Error.CAST, "NOT of the integer 10"),
    ],
)
def test_an_error_has_a_reason_for_people(text: str, error: Error, reason: str) -> None:
    result = Expression.parse(text).evaluate(ATTRIBUTES.get)
    assert (result.error, result.reason) == (error, reason)
