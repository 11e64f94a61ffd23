"""The event type itself: what it admits, and what it says of itself."""

import copy
import pickle
from dataclasses import FrozenInstanceError, replace
from typing import Any

import pytest

from wayside.eventing.errors import MalformedEvent
from wayside.eventing.event import CloudEvent


def _event(**changed: Any) -> CloudEvent:
    return CloudEvent(**{"id": "1", "source": "/s", "type": "t", **changed})


@pytest.mark.parametrize(
    "changed",
    [
        {"id": ""},
        {"source": ""},
        {"type": ""},
        {"extensions": {"": "x"}},
        {"extensions": {"Upper": "x"}},
        {"extensions": {"with-dash": "x"}},
        {"extensions": {"with_underscore": "x"}},
        {"extensions": {"ümlaut": "x"}},
        {"extensions": {"line\n": "x"}},
        {"extensions": {"id": "x"}},
        {"extensions": {"subject": "x"}},
        {"extensions": {"specversion": "1.0"}},
        {"extensions": {"data": "x"}},
        {"extensions": {"fine": "\ud800"}},
        {"id": "\udfff"},
        {"subject": "\ud800"},
        {"datacontenttype": "application/json\r\nce-id: 2"},
        {"datacontenttype": "application/json\n"},
        {"datacontenttype": "a\0"},
        {"datacontenttype": "a\x7f"},
    ],
)
def test_what_no_carrier_can_send_is_not_made(changed: dict[str, Any]) -> None:
    with pytest.raises(MalformedEvent):
        _event(**changed)


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({}, "specversion"),
        ({"specversion": ""}, "specversion"),
        ({"specversion": "0.3"}, "0.3"),
        ({"specversion": "1"}, "not supported"),
        ({"specversion": "1.0", "source": "s", "type": "t"}, "'id'"),
        ({"specversion": "1.0", "id": "i", "type": "t"}, "'source'"),
        ({"specversion": "1.0", "id": "i", "source": "s"}, "'type'"),
        ({"specversion": "1.0", "id": "i", "source": "s", "type": "t", "data": "x"}, "'data'"),
    ],
)
def test_attributes_that_make_no_event_are_named(attributes: dict[str, str], reason: str) -> None:
    with pytest.raises(MalformedEvent, match=reason):
        CloudEvent.from_attributes(attributes, b"")


def test_attributes_are_listed_and_looked_up() -> None:
    event = _event(time="t0", extensions={"one": "1"})
    listed = list(event.attributes())
    assert listed == [
        ("specversion", "1.0"),
        ("id", "1"),
        ("source", "/s"),
        ("type", "t"),
        ("time", "t0"),
        ("one", "1"),
    ]
    assert [event.attribute(name) for name, _ in listed] == [value for _, value in listed]
    assert event.attribute("subject") is None
    assert event.attribute("two") is None
    assert CloudEvent.from_attributes(dict(listed), b"") == event


def test_extensions_are_set_and_removed_on_a_copy() -> None:
    event = _event(extensions={"a": "1", "b": "2"})
    changed = event.with_extensions(a=None, c="3", d=None)
    assert dict(changed.extensions) == {"b": "2", "c": "3"}
    assert dict(event.extensions) == {"a": "1", "b": "2"}


def test_key_and_digest_tell_events_apart() -> None:
    event = _event(data=b"x")
    assert event.key == ("/s", "1", "t")
    assert event.digest == _event(id="2", data=b"x").digest != _event(data=b"y").digest


def test_an_event_travels_between_processes() -> None:
    event = _event(data=b"x", extensions={"a": "1"})
    assert pickle.loads(pickle.dumps(event)) == event
    assert copy.deepcopy(event) == event


def test_a_trusted_event_is_the_event_and_as_frozen() -> None:
    extensions = {"a": "1"}
    made = CloudEvent.trusted("1", "s", "t", time="now", datacontenttype=None, data=b"d", extensions=extensions)
    assert made == CloudEvent("1", "s", "t", b"d", "now", extensions=extensions)
    assert type(made) is CloudEvent
    assert replace(made, subject="x").subject == "x"
    with pytest.raises(FrozenInstanceError):
        made.id = "2"  # type: ignore[misc]
