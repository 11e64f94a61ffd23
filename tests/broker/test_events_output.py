"""Times and Triggers as people name them, and events as they are shown: pure, by tables."""

import base64
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wayside.eventing.broker.events.instants import parse_instant
from wayside.eventing.broker.events.output import Table, full_line, redeliver_words, replay_words, visible
from wayside.eventing.errors import ConfigurationError
from wayside.eventing.event import CloudEvent
from wayside.eventing.event_files import read_events
from wayside.eventing.triggers.names import TriggerName
from wayside.eventing.triggers.trigger_choice import choose_trigger

NOW_NS = 1_700_000_000_000_000_000
S_NS = 10**9


@pytest.mark.parametrize(
    ("text", "expected_ns"),
    [
        ("0s", NOW_NS),
        ("90s", NOW_NS - 90 * S_NS),
        ("1.5m", NOW_NS - 90 * S_NS),
        ("2h", NOW_NS - 7200 * S_NS),
        ("7d", NOW_NS - 7 * 86_400 * S_NS),
        ("1w", NOW_NS - 7 * 86_400 * S_NS),
        ("999999999w", 0),
        ("1970-01-01T00:00:01Z", S_NS),
        ("1970-01-01t01:00:00.5+01:00", S_NS // 2),
    ],
)
def test_a_time_is_rfc_3339_or_an_age(text: str, expected_ns: int) -> None:
    assert parse_instant(text, NOW_NS) == expected_ns


@pytest.mark.parametrize(
    "text", ["", "2", "h", "-2h", "2 h", "2H", "1h30m", "\u0661h", "yesterday", "2026-11-21", "2026"]
)
def test_what_is_neither_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="neither a time such as"):
        parse_instant(text, NOW_NS)


NAMES = [
    TriggerName("default", "default", "t"),
    TriggerName("shop", "default", "t"),
    TriggerName("shop", "gone", "t"),
    TriggerName("shop", "default", "only"),
]


@pytest.mark.parametrize(
    ("text", "expected"), [("only", 3), ("default/t", 0), ("shop/only", 3), ("shop/gone/t", 2), ("shop/default/t", 1)]
)
def test_a_trigger_is_named_by_as_much_as_tells_it_from_others(text: str, expected: int) -> None:
    assert choose_trigger(text, NAMES) == NAMES[expected]


@pytest.mark.parametrize(
    ("text", "names", "says"),
    [
        ("t", NAMES, "several Triggers are called 't': default/default/t, shop/default/t, shop/gone/t"),
        ("shop/t", NAMES, "several Triggers are called 'shop/t': shop/default/t, shop/gone/t"),
        ("x", NAMES[:1], "no Trigger is called 'x': there are default/default/t"),
        ("x", [], "no Trigger is called 'x': there is none at all"),
        ("x", [TriggerName("n", "b", str(number)) for number in range(30)], " and 10 more"),
    ],
)
def test_a_name_that_tells_nothing_is_refused_with_those_there_are(
    text: str, names: Sequence[TriggerName], says: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        choose_trigger(text, names)
    assert says in str(caught.value)


@given(
    data=st.binary(max_size=40) | st.sampled_from([b'{"a": 1.0}', b"[1,\n2]", b"null", b'"\xc3\xa9"', b"1e400", b""]),
    content_type=st.sampled_from([None, "application/json", "text/plain"]),
    subject=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=10),
)
def test_a_full_line_is_one_line_and_reads_back_the_very_event(
    data: bytes, content_type: str | None, subject: str
) -> None:
    event = CloudEvent("1", "/s", "t", data, datacontenttype=content_type, subject=subject)
    line = full_line({"event": {**dict(event.attributes()), "data_base64": base64.b64encode(data).decode()}})
    assert "\n" not in line
    assert "\r" not in line
    (read,) = read_events(line.encode() + b"\n")
    assert read == event


def _view(position: int, **changed: str) -> dict[str, object]:
    return {
        "position": position,
        "received": "2026-11-21T17:00:00.123456789Z",
        "size": 10,
        "event": {"type": "a", "source": "/s", "id": str(position), **changed},
        "deliveries": [],
    }


def test_columns_are_aligned_and_what_steers_a_terminal_is_not_sent() -> None:
    table = Table()
    first = [*table.lines([_view(1, type="\x1b[2Jevil", id="x" * 90)])]
    assert first[0].startswith("POSITION  RECEIVED                  TYPE")
    assert "\\x1b[2Jevil" in first[1]
    assert "x" * 47 + "…  " in first[1]
    assert "2026-11-21T17:00:00.123Z" in first[1]
    (later,) = table.lines([_view(2)])
    assert later.index("10") == first[1].index("10    (no Trigger)")
    assert [*table.lines([])] == []


def test_deliveries_that_were_left_out_are_counted() -> None:
    delivery = {"trigger": "n/b/t", "state": "settled"}
    (_, line) = Table().lines([{**_view(1), "deliveries": [delivery], "deliveries_left_out": 7}])
    assert line.endswith("t: settled; and 7 more")


@given(st.text(max_size=30))
def test_what_is_visible_is_printable(text: str) -> None:
    assert visible(text).isprintable()


def test_a_replay_is_told_in_a_sentence() -> None:
    summary = {
        "trigger": "default/default/t",
        "dry_run": False,
        "looked": 9,
        "replayed": 4,
        "filtered": 3,
        "waiting": 0,
        "dead_letters": 2,
        "forgotten": 0,
        "damaged": 0,
    }
    assert replay_words(summary) == (
        "4 of 9 events replayed to default/default/t; left alone: 3 not passed by its filter,"
        " 2 among its dead letters (wayside events redeliver)"
    )
    assert "4 of 9 events would be replayed to" in replay_words({**summary, "dry_run": True})
    assert redeliver_words({"redelivered": 1, "triggers": {"a/b/c": 1}}) == "1 dead letter redelivered: 1 of a/b/c"
