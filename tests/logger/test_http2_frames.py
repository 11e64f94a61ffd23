"""HTTP/2's frames: a table read whole and byte by byte, any split, and what cannot be read."""

from itertools import pairwise

import pytest
from grpc_stage import ACK, PREFACE, SETTINGS, data, frame, reset
from hypothesis import given
from hypothesis import strategies as st

from wayside.logger.http2 import frames
from wayside.logger.http2.frames import Data, Frame, FrameReader, GoAway, HeaderBlock, Reset, Settings, Unreadable

PADDED, PRIORITY, END_HEADERS = 0x8, 0x20, 0x4
PRIORITY_FIELDS, PROMISED = bytes(5), bytes(3) + b"\2"

TABLE = {
    "settings": (SETTINGS, [Settings(False, None)]),
    "settings acknowledged": (ACK, [Settings(True, None)]),
    "the last of two table sizes": (
        frame(4, 0, 0, bytes((0, 1, 0, 0, 0, 9, 0, 3, 0, 0, 0, 7, 0, 1, 0, 0, 1, 0))),
        [Settings(False, 256)],
    ),
    "data": (data(1, b"body"), [Data(1, b"body", False)]),
    "data that ends": (data(1, b"body", end=True), [Data(1, b"body", True)]),
    "an end without data": (data(1, b"", end=True), [Data(1, b"", True)]),
    "padded data": (frame(0, PADDED | 1, 1, b"\3bodyxyz"), [Data(1, b"body", True)]),
    "padding alone": (frame(0, PADDED | 1, 1, b"\3xyz"), [Data(1, b"", True)]),
    "a padded end without padding": (frame(0, PADDED | 1, 1, b"\0"), [Data(1, b"", True)]),
    "headers": (frame(1, END_HEADERS, 1, b"block"), [HeaderBlock(1, b"block", False)]),
    "headers that end": (frame(1, END_HEADERS | 1, 1, b"block"), [HeaderBlock(1, b"block", True)]),
    "padded headers with priority": (
        frame(1, END_HEADERS | PADDED | PRIORITY, 1, b"\2" + PRIORITY_FIELDS + b"blockxy"),
        [HeaderBlock(1, b"block", False)],
    ),
    "headers in three frames": (
        frame(1, 1, 1, b"bl") + frame(9, 0, 1) + frame(9, END_HEADERS, 1, b"ock"),
        [HeaderBlock(1, b"block", True)],
    ),
    "a promise is of no client's stream": (
        frame(5, END_HEADERS | PADDED | 1, 1, b"\1" + PROMISED + b"blockx"),
        [HeaderBlock(0, b"block", False)],
    ),
    "a promise goes on under its own stream": (
        frame(5, 0, 1, PROMISED + b"bl") + frame(9, END_HEADERS, 1, b"ock"),
        [HeaderBlock(0, b"block", False)],
    ),
    "reset": (reset(3), [Reset(3)]),
    "goaway with debug data": (frame(7, 0, 0, bytes(3) + b"\5" + bytes(4) + b"too much"), [GoAway(5)]),
    "priority, ping, window update, unknown": (
        frame(2, 0, 1, bytes(5)) + frame(6, 0, 0, bytes(8)) + frame(8, 0, 0, bytes(4)) + frame(0xEE, 0xFF, 9, b"any"),
        [],
    ),
    "the reserved bit of a stream's id": (frame(3, 0, 1 << 31 | 3, bytes(4)), [Reset(3)]),
}
UNREADABLE = {
    "data with more padding than bytes": frame(0, PADDED, 1, b"\x09body"),
    "padded data without its length": frame(0, PADDED, 1),
    "headers with more padding than bytes": frame(1, END_HEADERS | PADDED, 1, b"\x09block"),
    "headers too short for their priority": frame(1, END_HEADERS | PRIORITY, 1, b"abc"),
    "a promise too short": frame(5, END_HEADERS, 1, b"abc"),
    "a continuation of nothing": frame(9, END_HEADERS, 1, b"ock"),
    "a continuation of another stream": frame(1, 0, 1, b"bl") + frame(9, END_HEADERS, 3, b"ock"),
    "data within a header block": frame(1, 0, 1, b"bl") + data(1, b"body"),
    "settings of a broken length": frame(4, 0, 0, b"12345"),
    "settings without end": frame(4, 0, 0, bytes(6 * 4_000)),
    "a short reset": frame(3, 0, 1, b"123"),
    "a short goaway": frame(7, 0, 0, b"1234"),
}


def joined(told: list[Frame]) -> list[Frame]:
    """Pieces of one body put together, so that splits do not show."""
    made: list[Frame] = []
    for each in told:
        last = made[-1] if made else None
        if isinstance(each, Data):
            each = each._replace(data=bytes(each.data))
            if isinstance(last, Data) and last.stream_id == each.stream_id and not last.end_stream:
                made.pop()
                each = each._replace(data=last.data + each.data)
        made.append(each)
    return made


def read(reader: FrameReader, pieces: list[bytes]) -> list[Frame]:
    told: list[Frame] = []
    for piece in pieces:
        told += [
            each._replace(data=bytes(each.data)) if isinstance(each, Data) else each
            for each in reader.receive_data(piece)
        ]
    return joined(told)


def singly(whole: bytes) -> list[bytes]:
    return [bytes((byte,)) for byte in whole]


@pytest.mark.parametrize("name", TABLE)
def test_a_frame_is_read_whole_and_byte_by_byte(name: str) -> None:
    sent, expected = TABLE[name]
    for pieces in ([sent], singly(sent)):
        reader = FrameReader()
        assert read(reader, pieces) == expected
        assert reader.at_boundary


@pytest.mark.parametrize("name", UNREADABLE)
def test_what_is_no_http2_is_refused_whole_and_byte_by_byte(name: str) -> None:
    for pieces in ([UNREADABLE[name]], singly(UNREADABLE[name])):
        with pytest.raises(Unreadable):
            read(FrameReader(), pieces)


EVERYTHING = PREFACE + b"".join(sent for sent, _ in TABLE.values()) + data(1, bytes(range(256)) * 8, end=True)


@given(st.lists(st.integers(0, len(EVERYTHING)), max_size=40))
def test_how_bytes_are_split_changes_nothing(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(EVERYTHING)]
    pieces = [EVERYTHING[start:end] for start, end in pairwise(edges)]
    assert read(FrameReader(preface=True), pieces) == read(FrameReader(preface=True), [EVERYTHING])


def test_places_between_frames_are_known_and_reached_in_the_steps_told() -> None:
    places = {len(PREFACE)}
    for sent in (SETTINGS, data(1, b"body"), frame(1, 0, 1, b"bl") + frame(9, 4, 1, b"ock"), frame(6, 0, 0, bytes(8))):
        places.add(max(places) + len(sent))
    whole = PREFACE + SETTINGS + data(1, b"body") + frame(1, 0, 1, b"bl") + frame(9, 4, 1, b"ock")
    whole += frame(6, 0, 0, bytes(8))
    reader, at, found = FrameReader(preface=True), 0, set[int]()
    while at < len(whole):
        step = reader.pending_bytes
        reader.receive_data(whole[at : at + step])
        at += step
        found |= {at} if reader.at_boundary else set()
    assert (at, found) == (len(whole), places)


@pytest.mark.parametrize(
    "sent",
    [
        frame(1, 4, 1, bytes(70_000)),
        frame(1, 0, 1, bytes(20_000)) + frame(9, 4, 1, bytes(20_000)),
        frame(1, 0, 1, bytes(70_000)) + frame(9, 4, 1, b"x"),
    ],
    ids=["in one frame", "in two", "in the first of two"],
)
def test_a_header_block_over_the_limit_is_told_as_that_and_holds_nothing(sent: bytes) -> None:
    reader = FrameReader()
    assert reader.receive_data(sent) == [HeaderBlock(1, None, False)]
    assert reader.receive_data(SETTINGS) == [Settings(False, None)]


def test_empty_continuations_are_held_in_no_memory() -> None:
    reader = FrameReader()
    reader.receive_data(frame(1, 0, 1, b"x"))
    assert reader.receive_data(frame(9, 0, 1) * 1_000) == []
    assert reader.receive_data(frame(9, 4, 1, b"y")) == [HeaderBlock(1, b"xy", False)]


@pytest.mark.parametrize("empty", [data(1, b""), SETTINGS, frame(0xEE, 0, 0)], ids=["data", "settings", "unknown"])
def test_a_flood_of_empty_frames_is_not_read_on(empty: bytes) -> None:
    with pytest.raises(Unreadable, match="empty"):
        FrameReader().receive_data(empty * 1_001)


def test_a_body_of_many_megabytes_is_never_held() -> None:
    reader = FrameReader()
    reader.receive_data(((1 << 24) - 1).to_bytes(3) + bytes((0, 1)) + (1).to_bytes(4))
    piece = bytes(1 << 20)
    told = [each for _ in range(16) for each in reader.receive_data(piece[: reader.pending_bytes])]
    assert sum(len(each.data) for each in told if isinstance(each, Data)) == (1 << 24) - 1
    assert [each.end_stream for each in told if isinstance(each, Data)] == [False] * 15 + [True]


def test_what_is_written_reads_as_it_was_meant() -> None:
    assert FrameReader().receive_data(frames.go_away(7)) == [GoAway(7)]
