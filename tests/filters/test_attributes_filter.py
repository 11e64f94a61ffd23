import pytest

from wayside.eventing.event import CloudEvent
from wayside.eventing.filters.attribute import attribute_reader, is_attribute_name
from wayside.eventing.filters.attributes import attributes

EVENT = CloudEvent("1", "/s", "t", subject="Sub", extensions={"tier": "gold", "empty": ""})


@pytest.mark.parametrize(
    ("values", "passes", "says"),
    [
        ({}, True, "every event passes"),
        ({"type": "t"}, True, "type is 't'"),
        ({"type": "T"}, False, "type is 't', not 'T' (case and spaces count)"),
        (
            {"type": "t", "source": "/s", "id": "1", "specversion": "1.0", "subject": "Sub"},
            True,
            "type is 't' and source is '/s' and id is '1' and specversion is '1.0' and subject is 'Sub'",
        ),
        ({"type": "t", "source": "/other"}, False, "source is '/s', not '/other'"),
        ({"tier": "gold"}, True, "tier is 'gold'"),
        ({"tier": "gol"}, False, "tier is 'gold', not 'gol'"),
        ({"tier": ""}, True, "the event has tier"),
        ({"empty": ""}, True, "the event has empty"),
        ({"missing": ""}, False, "the event has no attribute 'missing'"),
        ({"missing": "x"}, False, "the event has no attribute 'missing'"),
        ({"time": ""}, False, "the event has no attribute 'time'"),
        ({"specversion": "0.3"}, False, "specversion is '1.0', not '0.3'"),
    ],
)
def test_matches_exactly_and_empty_asks_for_existence(values: dict[str, str], passes: bool, says: str) -> None:
    made = attributes(values)
    assert made.passes(EVENT) is passes
    assert made.explain(EVENT) == f"attributes: {says}"


@pytest.mark.parametrize(
    ("name", "allowed"),
    [("type", True), ("a1", True), ("1a", False), ("Type", False), ("my-ext", False), ("", False), ("é", False)],
)
def test_names_of_attributes(name: str, allowed: bool) -> None:
    assert is_attribute_name(name) is allowed


@pytest.mark.parametrize(
    "name",
    ["specversion", "id", "source", "type", "time", "datacontenttype", "dataschema", "subject", "tier", "gone", "data"],
)
def test_a_reader_answers_what_the_event_answers(name: str) -> None:
    assert attribute_reader(name)(EVENT) == EVENT.attribute(name)
