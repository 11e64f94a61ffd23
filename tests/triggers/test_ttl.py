import pytest

from wayside.eventing.event import CloudEvent
from wayside.eventing.triggers.ttl import next_ttl, without_ttl

EVENT = CloudEvent("1", "/s", "t")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, 255),
        ("255", 254),
        ("2", 1),
        ("1", 0),
        ("0", 0),
        ("-4", 0),
        ("junk", 255),
        ("", 255),
        ("9" * 40, 255),
        ("999", 255),
    ],
)
def test_ttl(text: str | None, expected: int) -> None:
    assert next_ttl(EVENT.with_extensions(knativebrokerttl=text)) == expected


def test_it_is_taken_off_and_what_has_none_stays_as_it_is() -> None:
    assert without_ttl(EVENT.with_extensions(knativebrokerttl="9")) == EVENT
    assert without_ttl(EVENT) is EVENT
