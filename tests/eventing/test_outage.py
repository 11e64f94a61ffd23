"""An outage is told, with its reason as it changes, and a sink that comes and goes makes no flood of it."""

import logging

import pytest

from wayside.eventing.outage import OutageNotice, is_told

log = logging.getLogger("wayside.test")


class Clock:
    def __init__(self) -> None:
        self.now_s = 5.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock(caplog: pytest.LogCaptureFixture) -> Clock:
    caplog.set_level("INFO")
    return Clock()


def test_an_outage_is_told_with_the_reason_that_it_has_by_now(caplog: pytest.LogCaptureFixture, clock: Clock) -> None:
    notice = OutageNotice(log, "events wait", clock)
    notice.note_back("back")
    for reason in ("refused", "still refused"):
        notice.note_away(reason)
    clock.now_s += 30
    notice.note_away("wrong password")
    notice.note_back("back")
    notice.note_back("back")
    assert caplog.messages == [
        "events wait and are tried again, because refused",
        "events wait and are tried again, because wrong password",
        "back",
    ]


def test_a_sink_that_comes_and_goes_makes_no_flood(caplog: pytest.LogCaptureFixture, clock: Clock) -> None:
    notice = OutageNotice(log, "events wait", clock)
    for _ in range(1000):
        clock.now_s += 0.1
        notice.note_away("busy")
        notice.note_back("back")
    assert len(caplog.messages) == 8  # in 100 s


def test_of_many_alike_every_doubling_is_told() -> None:
    assert [count for count in range(1, 100) if is_told(count)] == [1, 2, 4, 8, 16, 32, 64]
