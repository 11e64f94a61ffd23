import pytest
from filter_events import EVENT, outcome

from wayside.eventing.event import CloudEvent
from wayside.eventing.filters.exact import exact


@pytest.mark.parametrize(
    ("values", "passes", "says"),
    [
        ({"type": "org.example.request"}, True, "type is 'org.example.request'"),
        (
            {"type": "org.example.Request"},
            False,
            "type is 'org.example.request', not 'org.example.Request' (case and spaces count)",
        ),
        ({"type": "org.example"}, False, "type is 'org.example.request', not 'org.example'"),
        ({"tier": "gold "}, False, "tier is 'gold', not 'gold ' (case and spaces count)"),
        ({"id": "1", "tier": "gold"}, True, "id is '1' and tier is 'gold'"),
        ({"id": "1", "tier": "tin"}, False, "tier is 'gold', not 'tin'"),
        ({"tier": "tin", "id": "2"}, False, "tier is 'gold', not 'tin'"),
        ({"specversion": "1.0"}, True, "specversion is '1.0'"),
        ({"specversion": "0.3"}, False, "specversion is '1.0', not '0.3'"),
        ({"empty": "x"}, False, "empty is '', not 'x'"),
        ({"gone": "x"}, False, "the event has no attribute 'gone'"),
        ({"dataschema": "x"}, False, "the event has no attribute 'dataschema'"),
        ({"datamediatype": "x"}, False, "the event has no attribute 'datamediatype'"),
        ({"time": "2026-01-01T00:00:00.0Z"}, False, "time is '2026-01-01T00:00:00Z', not '2026-01-01T00:00:00.0Z'"),
    ],
)
def test_every_attribute_is_the_text(values: dict[str, str], passes: bool, says: str) -> None:
    assert outcome(exact(values)) == (passes, f"exact: {says}")


def test_an_explanation_is_one_short_line_whatever_the_values_hold() -> None:
    event = CloudEvent("1", "/s", "a\n{value}" + "x" * 5000)
    passes, because = outcome(exact({"type": "{name}\n" * 1000}), event)
    assert not passes
    assert because.startswith("exact: type is 'a\\n{value}xxx")
    assert len(because) < 400
    assert because.isprintable()


def test_each_event_is_asked_for_itself() -> None:
    made = exact({"tier": "gold"})
    assert made.passes(EVENT)
    assert not made.passes(EVENT.with_extensions(tier=None))
