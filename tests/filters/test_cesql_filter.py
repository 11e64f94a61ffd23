import pytest
from filter_events import EVENT, outcome

from wayside.eventing.cesql.expression import CesqlSyntaxError
from wayside.eventing.filters.cesql import Cesql


@pytest.mark.parametrize(
    ("text", "passes", "says"),
    [
        ("TRUE", True, "the value is true"),
        ("FALSE", False, "the value is false"),
        ("type LIKE '%.request'", True, "the value is true, where type is 'org.example.request'"),
        ("tier = 'tin'", False, "the value is false, where tier is 'gold'"),
        ("tier = 'tin' AND id = '1'", False, "the value is false, where tier is 'gold'"),
        ("tier = 'gold' AND id = '1'", True, "the value is true, where tier is 'gold' and id is '1'"),
        ("tier", False, "the value is 'gold', which is no boolean, where tier is 'gold'"),
        ("1 + 1", False, "the value is '2', which is no boolean"),
    ],
)
def test_what_is_true_passes(text: str, passes: bool, says: str) -> None:
    assert outcome(Cesql(text)) == (passes, f"cesql: {says}")


@pytest.mark.parametrize(
    ("text", "error", "end"),
    [
        ("gone = 'x'", "missingAttribute", "where the event has no attribute 'gone'"),
        ("gone = 'x' OR TRUE", "missingAttribute", "where the event has no attribute 'gone'"),
        ("1 / 0 = 1", "math", ""),
        ("SUBSTRING(tier, 9) = 'd'", "functionEvaluation", "where tier is 'gold'"),
        ("tier + 1 = 2", "cast", "where tier is 'gold'"),
    ],
)
def test_an_error_never_passes_and_names_what_is_missing(text: str, error: str, end: str) -> None:
    passes, because = outcome(Cesql(text))
    assert not passes
    assert because.startswith(f"cesql: the error is {error}")
    assert because.endswith(end)


def test_a_text_that_is_no_expression() -> None:
    with pytest.raises(CesqlSyntaxError):
        Cesql("type =")


@pytest.mark.parametrize(
    ("text", "line", "column", "says"),
    [
        ("UPER(type) = 'A'", 1, 1, "there is no function 'UPER': there are ABS, BOOL, CONCAT, CONCAT_WS, INT, LEFT,"),
        ("TRUE OR\n  id = lenth(id)", 2, 8, "there is no function 'LENTH': there are"),
        ("LEFT(type) = 'a'", 1, 1, "LEFT takes 2 arguments, not 1"),
        ("SUBSTRING(type) = 'a'", 1, 1, "SUBSTRING takes 2 or 3 arguments, not 1"),
        ("CONCAT_WS() = 'a'", 1, 1, "CONCAT_WS takes 1 or more arguments, not 0"),
        ("ABS(1, 2) = 1", 1, 1, "ABS takes 1 argument, not 2"),
        ("NOT -LENGTH(UPPER(F())) IN (1)", 1, 19, "there is no function 'F'"),
        ("id IN ('a', F())", 1, 13, "there is no function 'F'"),
        ("F() LIKE '%'", 1, 1, "there is no function 'F'"),
        ("1 + F() = 2 AND G()", 1, 5, "there is no function 'F'"),
        (f"{'F' * 900}()", 1, 1, f"there is no function '{'F' * 64}'…"),
    ],
)
def test_a_call_that_would_never_pass_is_refused_with_what_there_is(
    text: str, line: int, column: int, says: str
) -> None:
    with pytest.raises(CesqlSyntaxError) as raised:
        Cesql(text)
    assert (raised.value.line, raised.value.column) == (line, column)
    assert raised.value.reason.startswith(says)


def test_any_number_of_arguments_is_any_number() -> None:
    assert outcome(Cesql("CONCAT() = '' AND CONCAT('a', 'b', 'c') = 'abc' AND upper('a') = 'A'"))[0]


def test_many_attributes_are_cut() -> None:
    text = " OR ".join(f"EXISTS a{number} AND a{number} = 'x'" for number in range(40))
    event = EVENT.with_extensions(**{f"a{number}": "y" for number in range(40)})
    _, because = outcome(Cesql(text), event)
    assert because.count(" is 'y'") == 20
