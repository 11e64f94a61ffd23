import pytest

from wayside.eventing.broker.filters import is_attribute_name, matches
from wayside.eventing.event import CloudEvent

EVENT = CloudEvent("1", "/s", "t", subject="Sub", extensions={"tier": "gold", "empty": ""})


@pytest.mark.parametrize(
    ("attributes", "passes"),
    [
        ({}, True),
        ({"type": "t"}, True),
        ({"type": "T"}, False),
        ({"type": "t", "source": "/s", "id": "1", "specversion": "1.0", "subject": "Sub"}, True),
        ({"type": "t", "source": "/other"}, False),
        ({"tier": "gold"}, True),
        ({"tier": "gol"}, False),
        ({"tier": ""}, True),
        ({"empty": ""}, True),
        ({"missing": ""}, False),
        ({"missing": "x"}, False),
        ({"time": ""}, False),
        ({"specversion": "0.3"}, False),
    ],
)
def test_matches_exactly_and_empty_asks_for_existence(attributes: dict[str, str], passes: bool) -> None:
    assert matches(attributes, EVENT) is passes


@pytest.mark.parametrize(
    ("name", "allowed"),
    [("type", True), ("a1", True), ("1a", False), ("Type", False), ("my-ext", False), ("", False), ("é", False)],
)
def test_names_of_attributes(name: str, allowed: bool) -> None:
    assert is_attribute_name(name) is allowed
