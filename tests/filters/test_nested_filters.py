import pytest
from filter_events import EVENT, outcome
from hypothesis import given
from hypothesis import strategies as st

from wayside.eventing.filters.all_of import AllOf
from wayside.eventing.filters.any_of import AnyOf
from wayside.eventing.filters.everything import Everything
from wayside.eventing.filters.exact import exact
from wayside.eventing.filters.filter import Filter
from wayside.eventing.filters.negation import Negation

YES, ALSO, NO, NEVER = exact({"id": "1"}), exact({"tier": "gold"}), exact({"id": "2"}), exact({"gone": "x"})


@pytest.mark.parametrize(
    ("made", "passes", "says"),
    [
        (AllOf([YES]), True, "all: each of 1 passes: exact: id is '1'"),
        (AllOf([YES, ALSO]), True, "all: each of 2 passes: exact: id is '1'; exact: tier is 'gold'"),
        (AllOf([YES, NO, NEVER]), False, "all[1]: exact: id is '1', not '2'"),
        (AllOf([YES, NEVER], "filters"), False, "filters[1]: exact: the event has no attribute 'gone'"),
        (AnyOf([YES]), True, "any[0]: exact: id is '1'"),
        (AnyOf([NO, NEVER, ALSO, YES]), True, "any[2]: exact: tier is 'gold'"),
        (
            AnyOf([NO, NEVER]),
            False,
            "any: none of 2 passes: exact: id is '1', not '2'; exact: the event has no attribute 'gone'",
        ),
        (Negation(YES), False, "not: what it negates passes: exact: id is '1'"),
        (Negation(NEVER), True, "not: what it negates does not pass: exact: the event has no attribute 'gone'"),
        (Negation(Negation(NO)), False,
         "not: what it negates passes: not: what it negates does not pass: exact: id is '1', not '2'"),
        (AllOf([AnyOf([NO, YES]), Negation(NO)]), True,
         "all: each of 2 passes: any[1]: exact: id is '1'; "
         "not: what it negates does not pass: exact: id is '1', not '2'"),
        (Everything(), True, "the Trigger has no filter: every event passes"),
    ],
)  # fmt: skip
def test_nested_filters_and_their_reasons(made: Filter, passes: bool, says: str) -> None:
    assert outcome(made) == (passes, says)


LEAVES = st.sampled_from([(YES, True), (ALSO, True), (NO, False), (NEVER, False)])
Judged = tuple[Filter, bool]


def _nested(inner: st.SearchStrategy[Judged]) -> st.SearchStrategy[Judged]:
    some = st.lists(inner, min_size=1, max_size=4)
    return (
        some.map(lambda judged: (AllOf([one for one, _ in judged]), all(passes for _, passes in judged)))
        | some.map(lambda judged: (AnyOf([one for one, _ in judged]), any(passes for _, passes in judged)))
        | inner.map(lambda judged: (Negation(judged[0]), not judged[1]))
    )


@given(st.recursive(LEAVES, _nested, max_leaves=20))
def test_any_nesting_is_the_logic_of_its_parts_and_explains_itself_in_a_line(judged: Judged) -> None:
    made, wanted = judged
    passes, because = outcome(made, EVENT)
    assert passes is wanted
    assert because
    assert because.isprintable()
