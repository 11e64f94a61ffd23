"""How long a lane waits for a store that fails, and how often it says so."""

import logging

import pytest

from wayside.eventing.broker.store_outage import StoreOutage
from wayside.eventing.clock import FakeClock
from wayside.eventing.sink import SinkUnavailable


@pytest.mark.parametrize(
    ("steps_s", "pauses_s"),
    [
        ([0], [5]),
        ([0] * 32, [5] * 32),
        ([100, 5, 5, 10, 20, 30], [5, 5, 10, 20, 30, 30]),
        ([0, 20, 70], [5, 20, 5]),
    ],
    ids=["once", "many at once count as one", "grows with its length, to half a minute", "long ago"],
)
def test_pauses(steps_s: list[float], pauses_s: list[float]) -> None:
    clock, pauses = FakeClock(), []
    outage = StoreOutage("t", clock.monotonic_s)
    for step_s in steps_s:
        clock.advance(step_s)
        pauses.append(outage.note_failure(SinkUnavailable("full", 5)))
    assert pauses == pytest.approx(pauses_s)


def test_one_that_ended_begins_small_again_and_few_lines_tell_of_it(caplog: pytest.LogCaptureFixture) -> None:
    clock = FakeClock()
    outage = StoreOutage("t", clock.monotonic_s)
    with caplog.at_level(logging.INFO):
        for _ in range(100):
            outage.note_failure(SinkUnavailable("the disk is full", 0.1))
        clock.advance(20)
        assert outage.note_failure(SinkUnavailable("the disk is full")) == pytest.approx(20)
        outage.note_success()
        outage.note_success()
        assert outage.note_failure(SinkUnavailable("the disk is full")) == 1
    assert [record.getMessage() for record in caplog.records] == [
        "t: deliveries wait for the store and are tried again, because the disk is full",
        "t: the store takes what is delivered again",
    ]
