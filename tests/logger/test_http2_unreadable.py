"""What an observer makes of bytes that it cannot record: it counts what is lost, once, and follows the rest."""

import pytest
from grpc_stage import (
    BOTH,
    CALL,
    PREFACE,
    REST,
    WHOLE,
    Headers,
    Seen,
    Steps,
    Talk,
    data,
    frame,
    message,
    seen,
)
from hypothesis import given
from hypothesis import strategies as st

from wayside.logger.settings import Capture, LogMode, Sampling, StatusShare

UNREADABLE_BOTH = {("request", "unreadable"): 1, ("response", "unreadable"): 1}


@pytest.mark.parametrize(
    ("talk", "bodies", "lost"),
    [
        (Talk().infers(1, b"a", b"b").answered(1, b"told"), [], UNREADABLE_BOTH),
        (
            (talk := Talk()).client(talk.asks(1, CALL), data(1, message(b"asked")[:-1], end=True)).answered(1, b"told"),
            [],
            UNREADABLE_BOTH,
        ),
        (Talk().infers(1, b"asked").answered(1, b"a", b"b"), BOTH[:1], {("response", "unreadable"): 1}),
    ],
    ids=["two messages asked", "half a message asked", "two messages told"],
)
def test_a_call_that_is_not_unary_is_counted(talk: Talk, bodies: list, lost: dict) -> None:
    got = seen(talk.infers(3, b"asked").answered(3, b"told"))
    assert (got.bodies, got.lost) == ([*bodies, *BOTH], lost)
    assert got.is_balanced()


BAD_BLOCK = frame(1, 4, 5, b"\x80")
TOO_LARGE_BLOCK = frame(1, 4, 5, bytes(40_000))


@pytest.mark.parametrize("bad", [BAD_BLOCK, TOO_LARGE_BLOCK], ids=["undecodable", "too large"])
@pytest.mark.parametrize("side", ["client", "server"])
def test_a_header_block_that_cannot_be_read_ends_recording_and_no_more(bad: bytes, side: str) -> None:
    talk = Talk().infers(1, b"asked")
    talk.client(talk.asks(3, CALL), data(3, message(b"half")[:-1]))
    talk.steps.append((side, bad))
    got = Seen().follow(talk.steps)
    assert got.bodies == BOTH[:1]
    assert got.lost == {("request", "unreadable"): 1, ("response", "unreadable"): 2}
    assert (got.is_balanced(), got.counts.unreadable, got.recorder.budget.used_bytes) == (True, 1, 0)
    followed = got.observer.open_streams
    ends = [("client", data(3, b"", end=True)), ("server", data(1, b"", end=True) + data(3, b"", end=True))]
    assert got.follow(ends).observer.open_streams == followed - 2
    assert got.observer.in_step


@pytest.mark.parametrize(("answered", "lost"), [(False, UNREADABLE_BOTH), (True, {})])
def test_a_request_held_for_its_status_is_counted_as_long_as_it_may_be_sampled(answered: bool, lost: dict) -> None:
    sampling = Sampling(share=0.0, by_status=(StatusShare(500, 599, 1.0),))
    talk = Talk().infers(1, b"asked")
    if answered:
        talk.server(talk.answers(1, [(":status", "200")]))  # sampled out
    got = Seen(capture=Capture(sampling=sampling)).follow([*talk.steps, ("server", BAD_BLOCK)]).closed()
    assert (got.bodies, got.lost, got.is_balanced()) == ([], lost, True)
    assert got.counts.streams == 1


def test_bytes_that_are_no_frames_end_all_reading() -> None:
    talk = Talk().infers(1, b"asked").client(frame(9, 4, 1, b"x")).answered(1, b"told")
    got = seen(talk)
    assert (got.bodies, got.lost) == (BOTH[:1], {("response", "unreadable"): 1})
    assert (got.observer.in_step, got.observer.open_streams, got.counts.unreadable) == (False, 0, 1)
    assert got.is_balanced()


@pytest.mark.parametrize(
    ("mode", "lost"),
    [(LogMode.REQUEST, {("request", "unreadable"): 1}), (LogMode.RESPONSE, {("response", "unreadable"): 1})],
)
def test_only_what_was_wanted_is_lost(mode: LogMode, lost: dict) -> None:
    assert seen(Talk().infers(1, b"a", b"b"), Capture(mode=mode)).lost == lost


def test_streams_over_the_bound_pass_unrecorded_and_are_counted() -> None:
    talk = Talk()
    for stream_id in range(1, 2_101, 2):
        talk.infers(stream_id, b"asked")
    got = Seen().follow(talk.steps)
    assert got.observer.open_streams == 1_050
    for stream_id in range(1, 2_101, 2):
        got.follow(talk.answered(stream_id, b"told").steps[-1:])
    assert len(got.kept.events) == 2_000
    assert got.lost == {("request", "too_many_streams"): 50, ("response", "too_many_streams"): 50}
    assert (got.is_balanced(), got.recorder.budget.used_bytes, got.recorder.counts.exchanges) == (True, 0, 1_050)
    got.follow(talk.infers(5_001, b"asked").answered(5_001, b"told").steps[-2:])
    assert got.bodies[-2:] == BOTH


def test_streams_without_end_stop_being_followed() -> None:
    asks = Headers()
    opened = b"".join(asks(stream_id, REST) for stream_id in range(1, 40_000, 2))
    got = Seen().follow([("client", PREFACE + opened)])
    assert (got.observer.in_step, got.observer.open_streams, got.recorder.budget.used_bytes) == (False, 0, 0)


def test_heads_count_against_the_bound_of_all_copies() -> None:
    got = seen(Talk().infers(1, b"asked", x_large="a" * 2_000).answered(1, b"told"), Capture(total_bytes=1_000))
    assert got.lost == {("request", "capture_full"): 1, ("response", "capture_full"): 1}


@given(st.lists(st.tuples(st.sampled_from(["client", "server"]), st.binary(max_size=80)), max_size=12))
def test_no_bytes_make_it_raise_or_leak(noise: Steps) -> None:
    got = Seen().follow([*Talk().infers(1, b"asked").steps, *noise, *Talk().answered(1, b"told").steps[2:]]).closed()
    assert got.is_balanced()


@given(st.data())
def test_no_changed_byte_makes_it_raise_or_leak(draws: st.DataObject) -> None:
    steps = list(WHOLE)
    for _ in range(draws.draw(st.integers(1, 3))):
        index = draws.draw(st.integers(0, len(steps) - 1))
        side, sent = steps[index]
        at = draws.draw(st.integers(0, max(0, len(sent) - 1)))
        steps[index] = (side, sent[:at] + draws.draw(st.binary(max_size=3)) + sent[at + 1 :])
    got = Seen().follow(steps).closed()
    assert got.is_balanced()
