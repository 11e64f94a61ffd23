"""Sampling: one key has one fate on every replica, shares come out as asked, and a request is wholly in or out."""

import pytest
from recording_stage import FIELDS, Recorded

from wayside.eventing.clock import FakeClock
from wayside.logger.capture.sampling import RateLimit, Sampler, position
from wayside.logger.settings import Capture, LogMode, Sampling, StatusShare

BY_STATUS = Sampling(share=0.0, by_status=(StatusShare(500, 599, 1.0), StatusShare(200, 200, 0.5)))
KEYS = [b"key-%d" % number for number in range(10_000)]


def sampled(sampling: Sampling, **more: object) -> Recorded:
    return Recorded(Capture(sampling=sampling, **more))  # type: ignore[arg-type]


@pytest.mark.parametrize("share", [0.0, 0.01, 0.1, 0.5, 0.9, 1.0])
def test_a_share_comes_out_and_is_the_same_on_every_replica(share: float) -> None:
    replicas = [Sampler(Sampling(share), FakeClock().monotonic_s) for _ in range(2)]
    one, other = ({key for key in KEYS if replica.share_at_start(key) is not None} for replica in replicas)
    assert one == other
    spread = (share * (1 - share) / len(KEYS)) ** 0.5
    assert abs(len(one) / len(KEYS) - share) <= 4 * spread


def test_what_is_in_at_a_share_is_in_at_a_larger_one() -> None:
    samplers = [Sampler(Sampling(share), FakeClock().monotonic_s) for share in (0.1, 0.2)]
    small, large = ({key for key in KEYS if sampler.share_at_start(key)} for sampler in samplers)
    assert small < large


@pytest.mark.parametrize(
    ("name", "headers", "by"),
    [
        ("X-User", [(b"x-user", b"u"), (b"x-request-id", b"r")], b"u"),
        ("X-User", [(b"x-request-id", b"r")], None),
        ("", [(b"x-user", b"u"), (b"x-request-id", b"r")], b"r"),
        ("", [(b"x-request-id", b"")], None),
        ("", [], None),
    ],
)
def test_what_a_request_is_known_by(name: str, headers: list[tuple[bytes, bytes]], by: bytes | None) -> None:
    sampler = Sampler(Sampling(0.5, key=name), FakeClock().monotonic_s)
    expected = by or (b"r" if (b"x-request-id", b"r") in headers else b"event")
    assert sampler.key(dict(headers), "event") == expected


def test_requests_with_one_key_have_one_fate_and_say_their_share() -> None:
    recorded = sampled(Sampling(0.5, key="X-User"))
    for _ in range(3):
        for number in range(20):
            recorded.ask(200, (b"x-user", b"%d" % number))
    kept = sum(position(b"%d" % number) < 0.5 for number in range(20))
    assert recorded.counts.sampled_out == 3 * (20 - kept)
    assert recorded.kinds == ["request", "response"] * (3 * kept)
    assert {event.extensions["samplerate"] for event in recorded.events} == {"0.5"}


def test_a_rate_over_bursts_and_idle_times() -> None:
    clock = FakeClock()
    rate = RateLimit(10, clock.monotonic_s)
    assert sum(rate.admit() for _ in range(100)) == 10
    clock.advance(0.11)
    assert [rate.admit(), rate.admit()] == [True, False]
    clock.advance(3600)
    assert sum(rate.admit() for _ in range(100)) == 10  # an idle hour saves up a second's worth
    assert rate.share == pytest.approx(11 / 102)  # of the second before
    clock.advance(1)
    assert rate.admit()
    assert rate.share == pytest.approx(0.1)


def test_a_rate_of_less_than_one_a_second() -> None:
    clock = FakeClock()
    rate = RateLimit(0.1, clock.monotonic_s)
    admitted = 0
    for _ in range(1000):
        admitted += rate.admit()
        clock.advance(0.1)
    assert admitted == 10
    assert 0.008 < rate.share < 0.02  # never 0 of what was in


@pytest.mark.parametrize(("status", "share"), [(500, "1"), (599, "1"), (200, "0.5"), (404, None)])
def test_a_status_decides(status: int, share: str | None) -> None:
    recorded = sampled(BY_STATUS)
    key = next(key for key in KEYS if position(key) < 0.5)
    recorded.ask(status, (b"x-request-id", key))
    assert recorded.kinds == (["request", "response"] if share else [])
    assert {event.extensions["samplerate"] for event in recorded.events} == ({share} if share else set())
    assert (recorded.counts.exchanges, recorded.counts.sampled_out) == (1, 0 if share else 1)
    recorded.check_accounts()


@pytest.mark.parametrize("mode", LogMode)
def test_a_request_is_held_within_the_budget_until_the_status_is_known(mode: LogMode) -> None:
    recorded = sampled(BY_STATUS, mode=mode)
    recording = recorded.begin()
    assert recording is not None
    recording.request_body(b"x" * 100)
    recording.request_done()
    held_bytes = 0 if mode is LogMode.RESPONSE else 164
    assert (recorded.events, recorded.recorder.budget.used_bytes) == ([], held_bytes)
    recorded.clock.advance(1)
    recording.response_head(404, FIELDS)
    assert recorded.recorder.budget.used_bytes == 0
    recording.response_head(500, FIELDS)  # after the end
    recording.response_done()
    assert recorded.counts.sampled_out == 1
    recorded.check_accounts()


def test_a_held_request_says_when_it_was_recorded() -> None:
    recorded = sampled(BY_STATUS)
    recording = recorded.begin()
    assert recording is not None
    recording.request_done()
    recorded.clock.advance(5)
    recording.response_head(503, FIELDS)
    (request,) = recorded.events
    assert request.extensions["recordedtime"] == request.time


def test_held_requests_that_have_no_room_are_dropped_and_counted() -> None:
    recorded = sampled(BY_STATUS, total_bytes=200)
    recordings = [recorded.begin() for _ in range(2)]
    for recording in recordings:
        assert recording is not None
        recording.request_body(b"x" * 100)
        recording.request_done()
    assert recorded.recorder.budget.used_bytes <= 200
    for recording in recordings:
        assert recording is not None
        recording.response_head(500, FIELDS)
        recording.response_done()
    assert recorded.counts.dropped == {("request", "capture_full"): 1}
    recorded.check_accounts()


@pytest.mark.parametrize(("rest", "kinds"), [(1.0, ["request"]), (0.0, [])])
def test_a_request_that_gets_no_answer_goes_by_the_share_of_the_rest(rest: float, kinds: list[str]) -> None:
    recorded = sampled(Sampling(rest, by_status=(StatusShare(200, 200, 0.0),)))
    recording = recorded.begin()
    assert recording is not None
    recording.request_body(b"asked")
    recording.request_done()
    recording.response_done(whole=False)
    assert recorded.kinds == kinds
    assert recorded.counts.sampled_out == 1 - len(kinds)
    recorded.check_accounts()
