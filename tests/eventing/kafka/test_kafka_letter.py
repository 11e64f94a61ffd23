"""The form of a dead letter, and what is left out where its topic does not take it whole."""

import base64

import pytest

from wayside.eventing.event import CloudEvent
from wayside.eventing.kafka.binding import KafkaRecord, decode, encode
from wayside.eventing.kafka.letter import Letter, letters_of

EVENT = CloudEvent("1", "s", "t", b"data")
RECORD = KafkaRecord("events", 3, 7, [*encode(EVENT)[0], ("other", None)], b"key", b"data")
ORIGIN = {"wayside-topic": b"events", "wayside-partition": b"3", "wayside-offset": b"7"}


def letters(record: KafkaRecord = RECORD, group: str = "group", reason: str = "because é") -> list[Letter]:
    return list(letters_of(record, group, 400, reason))


def test_a_dead_letter_is_the_message_and_says_why() -> None:
    whole = letters()[0]
    assert (whole.key, whole.value, whole.lacks) == (b"key", b"data", "")
    assert list(whole.headers)[: len(RECORD.headers)] == RECORD.headers
    event = decode(whole.headers, whole.value)
    assert event.data == b"data"
    assert event.extensions["knativeerrordest"] == "group"
    assert event.extensions["knativeerrorcode"] == "400"
    assert base64.b64decode(event.extensions["knativeerrordata"]).decode() == "because é"


@pytest.mark.parametrize("form", range(3))
def test_every_form_says_from_where(form: int) -> None:
    assert ORIGIN.items() <= dict(letters()[form].headers).items()


def test_the_second_form_lacks_the_value_and_the_third_all_but_the_reason() -> None:
    _, second, third = letters()
    assert (second.key, second.value) == (b"key", None)
    assert {"wayside-omitted-bytes": b"4", "ce_id": b"1"}.items() <= dict(second.headers).items()
    assert (third.key, third.value, len(third.headers)) == (None, None, 8)
    assert {"wayside-omitted-bytes": b"4", "wayside-omitted-headers": b"5"}.items() <= dict(third.headers).items()
    assert "ce_id" not in dict(third.headers)


def test_the_last_form_is_small_whatever_the_record_is() -> None:
    huge = KafkaRecord("events", 3, 7, [("h" * 5000, b"x" * (1 << 20))] * 9, b"k" * 5000, b"v" * 5000)
    last = letters(huge, reason="why" * 5000)[-1]
    assert sum(len(name) + len(value or b"") for name, value in last.headers) < 2000


def test_a_dead_letter_of_a_dead_letter_says_the_last_reason_only() -> None:
    for first in letters():
        again = KafkaRecord("letters", 0, 1, [*first.headers], b"key", b"data")
        headers = letters(again, "second")[0].headers
        assert len(headers) == len({name for name, _ in headers})
        assert dict(headers)["ce_knativeerrordest"] == b"second"
