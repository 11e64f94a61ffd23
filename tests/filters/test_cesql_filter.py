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
        ("NOPE()", "missingFunction", ""),
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


def test_many_attributes_are_cut() -> None:
    text = " OR ".join(f"EXISTS a{number} AND a{number} = 'x'" for number in range(40))
    event = EVENT.with_extensions(**{f"a{number}": "y" for number in range(40)})
    _, because = outcome(Cesql(text), event)
    assert because.count(" is 'y'") == 20
