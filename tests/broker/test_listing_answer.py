"""A page of an admin port is one that clients take, whatever the events hold; going on from it, all are shown."""

import json
from dataclasses import replace
from typing import Any

import pytest

from wayside.eventing.broker.events.again import State
from wayside.eventing.broker.events.listing import DeadLetter, Listed, Listing, Standing
from wayside.eventing.broker.events.listing_json import ANSWER_LIMIT_BYTES, DataForm, listing_answer, listing_view
from wayside.eventing.broker.kept import Kept
from wayside.eventing.event import CloudEvent
from wayside.eventing.triggers.names import BrokerName, TriggerName

BROKER = BrokerName("default", "default")
MIB = 1 << 20


def listed(position: int, data: bytes = b"", deliveries: tuple[Standing, ...] = (), **attributes: str) -> Listed:
    event = CloudEvent.from_attributes(
        {"specversion": "1.0", "id": str(position), "source": "/s", "type": "t", **attributes}, data
    )
    return Listed(Kept(position, 1_700_000_000_000_000_000, event, 255, []), BROKER, deliveries)


def page(*events: Listed, damaged: tuple[int, ...] = (), last: int = 99) -> Listing:
    return Listing(events, damaged, last, newest=99, done=True)


def answer(listing: Listing, form: DataForm = DataForm.BASE64) -> Any:
    text = listing_answer(listing, form, {"from": None, "to": None})
    assert len(text) <= ANSWER_LIMIT_BYTES
    return json.loads(text)


@pytest.mark.parametrize("form", DataForm)
def test_what_fits_is_as_the_files_have_it(form: DataForm) -> None:
    listing = page(listed(1, b'{"a": 1.0}'), listed(2, b"\xff", subject="é"), listed(3), damaged=(4,))
    whole = json.loads(json.dumps(listing_view(listing, form)))
    assert answer(listing, form) == {**whole, "from": None, "to": None}
    assert answer(page()) == {"events": [], "damaged": [], "last": 99, "newest": 99, "done": True, "from": None,
                              "to": None}  # fmt: skip


LONG = 16 * MIB
DEAD = Standing(TriggerName("n" * 253, "é" * 253, '"' * 253), State.DEAD_LETTER, DeadLetter(1, 1, 500, "\x01" * 9999))


@pytest.mark.parametrize(
    ("one", "marks"),
    [
        (listed(1, subject="a" * LONG), {"attributes_cut"}),
        (listed(1, subject="\x01" * (120 << 10)), set()),
        (listed(1, **{f"a{number}": "x" for number in range(60_000)}), {"attributes_cut"}),
        (listed(1, **{"a" * LONG: "x"}), {"attributes_cut"}),
        (listed(1, bytes(8 * MIB)), set()),
        (listed(1, bytes(8 * MIB + 1)), {"data_left_out"}),
        (listed(1, bytes(8 * MIB + 1), subject="a" * LONG), {"data_left_out", "attributes_cut"}),
        (listed(1, deliveries=(DEAD,) * 5000), {"deliveries_left_out"}),
        (listed(1, bytes(8 * MIB), (DEAD,) * 5000), {"deliveries_left_out"}),
    ],
    ids=[
        "value",
        "escapes",
        "many",
        "name",
        "data",
        "more data",
        "data and value",
        "deliveries",
        "data and deliveries",
    ],
)
def test_one_event_alone_is_cut_and_says_so(one: Listed, marks: set[str]) -> None:
    (view,) = answer(page(one))["events"]
    assert {name for name in view if name.endswith(("_cut", "_left_out"))} == marks
    assert (view["position"], view["size"]) == (1, len(one.kept.event.data))
    assert view["event"]["id"] == "1"
    assert ("data_base64" in view["event"]) is (bool(one.kept.event.data) and "data_left_out" not in marks)


@pytest.mark.parametrize(
    ("data", "is_shown_as_json"),
    [
        (b'{"a": [1, 1e5]}', True),
        (b'"\\ud800"', True),
        (b"1e400", False),
        (b"NaN", False),
        (b"[" * 200_000, False),
        (b"[" * 900 + b"]" * 900, False),
    ],
)
def test_data_for_people_is_json_that_can_be_sent(data: bytes, is_shown_as_json: bool) -> None:
    (view,) = answer(page(listed(1, data)), DataForm.JSON)["events"]
    assert is_shown_as_json or "data_base64" in view["event"] or view["event"]["data"]
    if is_shown_as_json:
        assert view["event"]["data"] == json.loads(data)


def test_data_that_grows_as_json_has_its_bound_too() -> None:
    (view,) = answer(page(listed(1, b"[" + b"1e15," * (4 << 18) + b"0]")), DataForm.JSON)["events"]
    assert view["data_left_out"]


@pytest.mark.parametrize("newest_first", [False, True])
def test_what_has_no_room_comes_next(newest_first: bool) -> None:
    """Going on from `last`, each event and each damaged place is told once."""
    order = -1 if newest_first else 1
    events = [listed(position, bytes(MIB)) for position in range(1, 41, 2)][::order]
    damaged = tuple(range(2, 41, 2))[::order]
    shown, broken, done, last = list[int](), list[int](), False, 0 if order == 1 else 99
    while not done:
        rest = [one for one in events if (one.kept.position - last) * order > 0]
        left = tuple(place for place in damaged if (place - last) * order > 0)
        told = answer(page(*rest, damaged=left))
        shown += [view["position"] for view in told["events"]]
        broken += told["damaged"]
        last, done = told["last"], told["done"]
    assert shown == [one.kept.position for one in events]
    assert sorted(broken) == sorted(damaged)


def test_a_page_of_small_events_with_many_deliveries_is_divided() -> None:
    many = page(*(listed(position, deliveries=(DEAD,) * 400) for position in range(100)))
    first = answer(many)
    assert 0 < len(first["events"]) < 100
    assert (first["done"], first["last"]) == (False, first["events"][-1]["position"])
    assert answer(replace(many, events=many.events[:1]))["last"] == 99
