"""Recordings: every order of calls, every limit; nothing raises, nothing is left over, everything is counted."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recording_stage import FIELDS, Recorded

from wayside.logger.capture.recording import Recording
from wayside.logger.capture.request import RequestHead
from wayside.logger.settings import Capture, LogMode, Oversize, Sampling, StatusShare

Call = Callable[[Recording], None]
BODY: Call = lambda recording: recording.request_body(b"asked")  # noqa: E731
DONE: Call = Recording.request_done
HEAD: Call = lambda recording: recording.response_head(200, FIELDS)  # noqa: E731
TOLD: Call = lambda recording: recording.response_body(b"told")  # noqa: E731
END: Call = Recording.response_done
BREAK: Call = lambda recording: recording.response_done(whole=False)  # noqa: E731
STOP: Call = Recording.give_up

ORDERS: list[tuple[str, list[Call], list[tuple[str, bytes]]]] = [
    ("one after the other", [BODY, DONE, HEAD, TOLD, END], [("request", b"asked"), ("response", b"told")]),
    ("overlapping", [HEAD, BODY, TOLD, DONE, TOLD, END], [("request", b"asked"), ("response", b"toldtold")]),
    ("told twice that it is done", [BODY, DONE, DONE, HEAD, END, END], [("request", b"asked"), ("response", b"")]),
    ("answered before the request is whole", [BODY, HEAD, TOLD, END, DONE], []),
    ("an answer without a body", [DONE, HEAD, END], [("request", b""), ("response", b"")]),
    ("no answer", [BODY, DONE, BREAK], [("request", b"asked")]),
    ("an answer that breaks off", [DONE, HEAD, TOLD, BREAK], [("request", b""), ("response", b"told")]),
    ("given up at once", [STOP, BODY, DONE, HEAD, TOLD, END], []),
    ("given up in the body", [BODY, STOP, BODY, DONE, HEAD, END], []),
    ("given up in the answer", [DONE, HEAD, TOLD, STOP, TOLD, END], [("request", b"")]),
    ("what comes after the end", [DONE, HEAD, END, BODY, DONE, HEAD, TOLD, END], [("request", b""), ("response", b"")]),
    ("a body behind its end", [DONE, BODY, HEAD, END], [("request", b""), ("response", b"")]),
    ("a second head", [DONE, HEAD, TOLD, HEAD, TOLD, END], [("request", b""), ("response", b"toldtold")]),
]


@pytest.mark.parametrize(("calls", "events"), [order[1:] for order in ORDERS], ids=[order[0] for order in ORDERS])
def test_orders(calls: list[Call], events: list[tuple[str, bytes]]) -> None:
    recorded = Recorded(Capture())
    recording = recorded.begin()
    assert recording is not None
    for call in calls:
        call(recording)
    assert list(zip(recorded.kinds, (event.data for event in recorded.events), strict=True)) == events
    recording.give_up()
    recorded.check_accounts()


@pytest.mark.parametrize("whole", [True, False])
def test_a_broken_answer_is_marked(whole: bool) -> None:
    recorded = Recorded(Capture())
    recording = recorded.begin()
    assert recording is not None
    recording.request_done()
    recording.response_head(200, FIELDS)
    recording.response_done(whole=whole, notes={"grpcstatus": "5"})
    said = recorded.events[1].extensions
    assert (said.get("truncated"), said["grpcstatus"]) == (None if whole else "true", "5")


@pytest.mark.parametrize(
    ("pieces", "data", "truncated"),
    [
        ((b"1234",), b"1234", False),
        ((b"12", b"34"), b"1234", False),
        ((b"1234", b""), b"1234", False),
        ((b"12345",), b"1234", True),
        ((b"1234", b"5"), b"1234", True),
        ((b"123", b"45", b"6"), b"1234", True),
        ((b"123", b"456", b""), b"1234", True),
        ((b"", b""), b"", False),
    ],
)
@pytest.mark.parametrize("oversize", Oversize)
def test_the_limit_of_a_body(pieces: tuple[bytes, ...], data: bytes, truncated: bool, oversize: Oversize) -> None:
    recorded = Recorded(Capture(body_bytes=4, oversize=oversize))
    recording = recorded.begin()
    assert recording is not None
    for piece in pieces:
        recording.request_body(piece)
    recording.request_done()
    if truncated and oversize is Oversize.SKIP:
        assert recorded.events == []
        assert recorded.counts.dropped == {("request", "too_large"): 1}
    else:
        assert [event.data for event in recorded.events] == [data]
        assert ("truncated" in recorded.events[0].extensions) is truncated
        assert recorded.counts.truncated == truncated
    recorded.check_accounts()


def test_a_body_that_has_no_room_is_given_up_whole_and_takes_no_room() -> None:
    recorded = Recorded(Capture(total_bytes=200))
    first, second = recorded.begin(), recorded.begin()
    assert first is not None
    assert second is not None
    first.request_body(b"x" * 100)
    second.request_body(b"y" * 10)
    second.request_body(b"y" * 100)
    assert recorded.recorder.budget.used_bytes == 100 + 64
    for recording in (first, second):
        recording.request_done()
    assert [event.data for event in recorded.events] == [b"x" * 100]
    assert recorded.counts.dropped == {("request", "capture_full"): 1}
    recorded.check_accounts()


CALLS = st.sampled_from([BODY, DONE, HEAD, TOLD, END, BREAK, STOP])
CAPTURES = st.builds(
    Capture,
    mode=st.sampled_from(LogMode),
    body_bytes=st.sampled_from([1, 5, 8, 1000]),
    oversize=st.sampled_from(Oversize),
    total_bytes=st.sampled_from([0, 70, 150, 10_000]),
    sampling=st.sampled_from([Sampling(), Sampling(0.5), Sampling(0.5, by_status=(StatusShare(200, 200, 1.0),))]),
    kserve_compatible=st.booleans(),
)


@given(CAPTURES, st.lists(st.tuples(st.integers(0, 2), CALLS), max_size=30))
def test_any_order_of_calls_leaves_nothing_over(capture: Capture, calls: list[tuple[int, Call]]) -> None:
    recorded = Recorded(capture)
    recordings = [recorded.begin() for _ in range(3)]
    for number, call in calls:
        recording = recordings[number]
        if recording is not None:
            call(recording)
            assert recorded.recorder.budget.used_bytes <= capture.total_bytes
    for recording in recordings:
        if recording is not None:
            recording.give_up()
    recorded.check_accounts()
    assert recorded.counts.exchanges == 3
    assert recorded.counts.sampled_out <= 3


NAMES = st.sampled_from(
    b"ce-id x-request-id traceparent tracestate content-type content-encoding grpc-encoding x-tenant".split()
)
HEADERS = st.lists(st.tuples(NAMES, st.binary(max_size=30)), max_size=8)


@given(HEADERS, HEADERS, st.binary(max_size=30), st.binary(max_size=30), st.booleans())
def test_whatever_bytes_a_client_sends_the_events_are_ones_that_can_be_sent(
    asked: list[tuple[bytes, bytes]], told: list[tuple[bytes, bytes]], method: bytes, target: bytes, compatible: bool
) -> None:
    names = frozenset({"X-Tenant" if compatible else "x-tenant"})
    recorded = Recorded(Capture(metadata_headers=names, kserve_compatible=compatible))
    recording = recorded.recorder.begin(RequestHead(method, target, asked))
    assert recording is not None
    recording.request_done()
    recording.response_head(200, dict(told))
    recording.response_done()
    assert recorded.kinds == ["request", "response"]
    for event in recorded.events:
        assert replace(event) == event  # made anew, it is checked


def test_the_first_byte_of_a_stream_is_its_first_token_and_not_its_head() -> None:
    recorded = Recorded(Capture())
    recording = recorded.begin()
    assert recording is not None
    recording.request_done()
    for seconds, call in ((0.1, HEAD), (0.4, TOLD), (0.5, TOLD), (1.0, END)):
        recorded.clock.advance(seconds)
        call(recording)
    extensions = recorded.events[1].extensions
    assert (extensions["firstbytems"], extensions["latencyms"]) == ("500.000", "2000.000")


def test_the_first_byte_is_the_first_also_where_no_body_is_kept() -> None:
    recorded = Recorded(Capture(body_bytes=0))
    recording = recorded.begin()
    assert recording is not None
    recording.request_done()
    for seconds, call in ((0.1, HEAD), (0.4, TOLD), (0.5, TOLD), (1.0, END)):
        recorded.clock.advance(seconds)
        call(recording)
    extensions = recorded.events[1].extensions
    assert (extensions["firstbytems"], extensions["latencyms"]) == ("500.000", "2000.000")
