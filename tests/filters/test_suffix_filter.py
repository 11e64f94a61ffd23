import pytest
from filter_events import outcome

from wayside.eventing.filters.suffix import suffix


@pytest.mark.parametrize(
    ("values", "passes", "says"),
    [
        ({"type": ".request"}, True, "type 'org.example.request' ends with '.request'"),
        ({"type": "org.example.request"}, True, "type 'org.example.request' ends with 'org.example.request'"),
        (
            {"type": ".Request"},
            False,
            "type 'org.example.request' does not end with '.Request' (case and spaces count)",
        ),
        ({"type": "example"}, False, "type 'org.example.request' does not end with 'example'"),
        (
            {"type": ".request", "tier": "ld"},
            True,
            "type 'org.example.request' ends with '.request' and tier 'gold' ends with 'ld'",
        ),
        ({"type": ".request", "tier": "in"}, False, "tier 'gold' does not end with 'in'"),
        ({"empty": "x"}, False, "empty '' does not end with 'x'"),
        ({"gone": "x"}, False, "the event has no attribute 'gone'"),
    ],
)
def test_every_attribute_ends_with_the_text(values: dict[str, str], passes: bool, says: str) -> None:
    assert outcome(suffix(values)) == (passes, f"suffix: {says}")
