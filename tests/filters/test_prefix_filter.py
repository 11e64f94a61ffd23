import pytest
from filter_events import outcome

from wayside.eventing.filters.prefix import prefix


@pytest.mark.parametrize(
    ("values", "passes", "says"),
    [
        ({"type": "org."}, True, "type 'org.example.request' starts with 'org.'"),
        ({"type": "org.example.request"}, True, "type 'org.example.request' starts with 'org.example.request'"),
        ({"type": "Org."}, False, "type 'org.example.request' does not start with 'Org.' (case and spaces count)"),
        ({"type": "example"}, False, "type 'org.example.request' does not start with 'example'"),
        (
            {"type": "org.example.request.v2"},
            False,
            "type 'org.example.request' does not start with 'org.example.request.v2'",
        ),
        (
            {"source": "/models", "tier": "go"},
            True,
            "source '/models/fraud' starts with '/models' and tier 'gold' starts with 'go'",
        ),
        ({"source": "/models", "tier": "ti"}, False, "tier 'gold' does not start with 'ti'"),
        ({"empty": "x"}, False, "empty '' does not start with 'x'"),
        ({"gone": "x"}, False, "the event has no attribute 'gone'"),
    ],
)
def test_every_attribute_starts_with_the_text(values: dict[str, str], passes: bool, says: str) -> None:
    assert outcome(prefix(values)) == (passes, f"prefix: {says}")
