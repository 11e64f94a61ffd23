import pytest

from wayside.eventing.event import CloudEvent
from wayside.eventing.filters.attribute import attribute_reader, why_no_attribute
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
    ("name", "says"),
    [
        ("type", None),
        ("a1", None),
        ("datamediatype", None),
        ("1a", "is no attribute's name"),
        ("Type", "is no attribute's name"),
        ("my-ext", "is no attribute's name"),
        ("", "is no attribute's name"),
        ("é", "is no attribute's name"),
        ("data", "is no attribute: filters look at an event's attributes, never at its data"),
    ],
)
def test_names_of_attributes(name: str, says: str | None) -> None:
    assert (why_no_attribute(name) or "").startswith(says or "")
    assert (why_no_attribute(name) is None) is (says is None)


@pytest.mark.parametrize(
    "name",
    ["specversion", "id", "source", "type", "time", "datacontenttype", "dataschema", "subject", "tier", "gone"],
)
def test_a_reader_answers_what_the_event_answers(name: str) -> None:
    assert attribute_reader(name)(EVENT) == EVENT.attribute(name)


@pytest.mark.parametrize(
    ("content_type", "media_type"),
    [
        (None, None),
        ("application/json", "application/json"),
        ("application/json; charset=utf-8", "application/json"),
        ("Application/JSON ;a=b;c", "Application/JSON"),
        (";", ""),
    ],
)
def test_datamediatype_is_the_content_type_without_parameters(content_type: str | None, media_type: str | None) -> None:
    event = CloudEvent("1", "/s", "t", datacontenttype=content_type, extensions={"datamediatype": "shadowed"})
    assert attribute_reader("datamediatype")(event) == media_type


def test_schemaurl_is_the_name_that_dataschema_once_had() -> None:
    event = CloudEvent("1", "/s", "t", dataschema="http://schema/", extensions={"schemaurl": "shadowed"})
    assert attributes({"schemaurl": "http://schema/"}).explain(event) == "attributes: schemaurl is 'http://schema/'"
    assert not attributes({"schemaurl": ""}).passes(EVENT)


@pytest.mark.parametrize(
    ("time", "compared"),
    [
        ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"),
        ("2026-01-01T00:00:00.000Z", "2026-01-01T00:00:00Z"),
        ("2026-01-01T00:00:00.1200Z", "2026-01-01T00:00:00.12Z"),
        ("2026-01-01T00:00:00.1234567899Z", "2026-01-01T00:00:00.123456789Z"),
        ("2026-01-01T01:30:00+01:30", "2026-01-01T00:00:00Z"),
        ("2026-01-01t00:00:00z", "2026-01-01T00:00:00Z"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
        ("yesterday", "yesterday"),
        ("0001-01-01T00:00:00+01:00", "0001-01-01T00:00:00+01:00"),
        (None, None),
    ],
)
def test_a_time_is_compared_in_utc_without_idle_digits(time: str | None, compared: str | None) -> None:
    event = CloudEvent("1", "/s", "t", time=time)
    assert attribute_reader("time")(event) == compared
