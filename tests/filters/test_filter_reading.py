import pytest
from filter_events import EVENT, outcome, read

from wayside.eventing.errors import ConfigurationError
from wayside.eventing.event import CloudEvent

REQUEST = "org.example.request"


@pytest.mark.parametrize(
    ("text", "passes", "says"),
    [
        ("{}", True, "the Trigger has no filter: every event passes"),
        ("{filter: null, filters: null}", True, "the Trigger has no filter: every event passes"),
        ("{filter: {}, filters: []}", True, "the Trigger has no filter: every event passes"),
        ("{filter: {attributes: {}}}", True, "the Trigger has no filter: every event passes"),
        ("{filter: {attributes: {tier: gold}}}", True, "attributes: tier is 'gold'"),
        ("{filter: {attributes: {tier: ''}}, filters: []}", True, "attributes: the event has tier"),
        ("{filter: {attributes: {tier: tin}}, filters: [{exact: {id: '1'}}]}", True, "exact: id is '1'"),
        ("{filter: {attributes: {tier: gold}}, filters: [{exact: {id: '2'}}]}", False, "exact: id is '1', not '2'"),
        ("{filters: [{prefix: {type: org.}}, {suffix: {type: .reply}}]}", False,
         f"filters[1]: suffix: type '{REQUEST}' does not end with '.reply'"),
        ("{filters: [{not: {prefix: {type: com.}}}]}", True,
         f"not: what it negates does not pass: prefix: type '{REQUEST}' does not start with 'com.'"),
        ("{filters: [{any: [{exact: {id: '2'}}, {all: [{exact: {id: '1'}}]}]}]}", True,
         "any[1]: all: each of 1 passes: exact: id is '1'"),
        ("{filters: [{exact: {id: '1'}, prefix: null}]}", True, "exact: id is '1'"),
        ("{filters: [{cesql: \"tier = 'gold'\"}]}", True, "cesql: the value is true, where tier is 'gold'"),
        ("{filters: [{exact: {time: 2026-01-01T00:00:00Z}}]}", True, "exact: time is '2026-01-01T00:00:00Z'"),
        ("{filters: [{any: [&one {exact: {id: '1'}}, *one]}]}", True, "any[0]: exact: id is '1'"),
    ],
)  # fmt: skip
def test_filters_override_filter_and_are_an_and(text: str, passes: bool, says: str) -> None:
    assert outcome(read(text)) == (passes, says)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("filters: {exact: {id: a}}", "1:10: document 1: spec.filters: must be a list, not a mapping"),
        ("filters:\n- exact", "2:3: document 1: spec.filters[0]: must be a mapping, not text"),
        ("filters:\n- {}", "2:3: document 1: spec.filters[0]: names no dialect: one of exact, prefix"),
        ("filters:\n- exact: null", "2:3: document 1: spec.filters[0]: names no dialect"),
        ("filters: [null]", "1:11: document 1: spec.filters[0]: must be a mapping, not null"),
        ("filters:\n- exact: {id: a}\n  prefix: {id: a}", "2:3: document 1: spec.filters[0]: names exact and prefix"),
        ("filters:\n- exact: {id: a}\n  cesql: 'TRUE'", "spec.filters[0]: names exact and cesql"),
        ("filters:\n- sql: id = 'a'", "2:3: document 1: spec.filters[0].sql: is not supported here; known are all"),
        ("filters:\n- exact: {}", "2:10: document 1: spec.filters[0].exact: is empty"),
        ("filters:\n- exact: [id]", "2:10: document 1: spec.filters[0].exact: must be a mapping, not a list"),
        ("filters:\n- exact:\n    id: ''", "3:9: document 1: spec.filters[0].exact.id: is empty"),
        ("filters:\n- prefix: {id: ''}", "spec.filters[0].prefix.id: is empty"),
        ("filters:\n- suffix: {id: ''}", "spec.filters[0].suffix.id: is empty"),
        ("filters:\n- suffix: {id: null}", "spec.filters[0].suffix.id: is missing"),
        ("filters:\n- exact:\n    id: 7", "3:9: document 1: spec.filters[0].exact.id: must be text, not a number (7)"),
        ("filters: [{exact: {id: no}}]", "exact.id: must be text, not a boolean (no): put it in quotes"),
        ("filters: [{exact: {id: [a]}}]", "spec.filters[0].exact.id: must be text, not a list"),
        ("filters:\n- exact:\n    ID: a", "3:5: document 1: spec.filters[0].exact.ID: is no attribute's name"),
        ("filters: [{prefix: {my-ext: a}}]", "spec.filters[0].prefix.my-ext: is no attribute's name"),
        ("filters: [{prefix: {on: a}}]", "spec.filters[0].prefix.True: is no attribute's name"),
        ("filters: [{exact: {tier: y}}]", "exact.tier: must be text, not a boolean (y): put it in quotes"),
        ("filters: [{exact: {.nan: a}}]", "spec.filters[0].exact.nan: is no text: put it in quotes"),
        ("filters: [{exact: {data: a}}]", "1:20: document 1: spec.filters[0].exact.data: is no attribute: filters"),
        ("filter: {attributes: {data: a}}", "spec.filter.attributes.data: is no attribute: filters look"),
        ("filters:\n- cesql: UPER(id) = 'A'",
         "2:10: document 1: spec.filters[0].cesql: line 1, column 1 of the expression: there is no function 'UPER'"),
        ("filters: [{prefix: {1a: a}}]", "spec.filters[0].prefix.1a: is no attribute's name"),
        ("filters: [{all: []}]", "spec.filters[0].all: is empty: it needs at least one filter"),
        ("filters: [{any: []}]", "spec.filters[0].any: is empty: it needs at least one filter"),
        ("filters: [{all: {exact: {id: a}}}]", "spec.filters[0].all: must be a list, not a mapping"),
        ("filters: [{not: {}}]", "spec.filters[0].not: is empty"),
        ("filters: [{not: [{exact: {id: a}}]}]", "spec.filters[0].not: must be a mapping, not a list"),
        ("filters: [{any: [{not: {exact: {Id: a}}}]}]", "spec.filters[0].any[0].not.exact.Id: is no attribute's name"),
        ("filters: [{cesql: ''}]", "spec.filters[0].cesql: is empty"),
        ("filters: [{cesql: true}]", "spec.filters[0].cesql: must be text, not a boolean (true): put it in quotes"),
        ("filters:\n- cesql: |\n    TRUE AND\n    (id = 'a'", "spec.filters[0].cesql: line "),
        ("filters: [{exact: {id: 'a'}}]\nfilter: {attributes: {Id: a}}", "spec.filter.attributes.Id: is no"),
        ("filter: {exact: {id: a}}", "spec.filter.exact: is not supported here; known are attributes"),
        ("filters: [{exact: {id: a, id: b}}]", "1:27: the key 'id' is there twice: first in line 1"),
        ("filters: [{exact: {id: " + "x" * 5000 + "}}]", "spec.filters[0].exact.id: is longer than 4096 characters"),
        ("filters: [" + "{not: " * 16 + "{exact: {id: a}}" + "}" * 16 + "]", "not: is nested more than 16 deep"),
        ("filters: [" + "{exact: {id: a}}," * 257 + "]", "spec.filters[256]: is one filter too many"),
    ],
)  # fmt: skip
def test_what_cannot_be_a_filter_is_refused_where_it_stands(text: str, says: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        read(text)
    assert str(raised.value).startswith("t.yaml:")
    assert says in str(raised.value)


def test_a_wrong_expression_is_told_with_its_own_line_and_column() -> None:
    with pytest.raises(ConfigurationError, match=r"t\.yaml:2:10: .*cesql: line 2, column \d+ of the expression: ."):
        read("filters:\n- cesql: |\n    TRUE AND\n    type = = 'a'\n")


def test_as_many_filters_as_are_allowed_as_deep_as_is_allowed() -> None:
    deep = "{not: " * 15 + "{exact: {id: '1'}}" + "}" * 15
    assert not read(f"filters: [{deep}]").passes(EVENT)
    assert read("filters: [" + "{exact: {id: '1'}}," * 256 + "]").passes(EVENT)
    assert not read("filters: [" + "{exact: {id: '1'}}," * 256 + "]").passes(CloudEvent("2", "/s", "t"))
