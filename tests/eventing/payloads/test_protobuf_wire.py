"""The wire reader against protobuf's own: the same fields of every valid message, a refusal of every other."""

from collections.abc import Callable
from contextlib import suppress

import pytest
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet
from hypothesis import given
from hypothesis import strategies as st

from wayside.eventing.errors import MalformedPayload
from wayside.eventing.payloads.protocols.protobuf_wire import Body, Field, Wire, signed, unsigned, varints

MASK = (1 << 64) - 1


def varint(value: int) -> bytes:
    groups = [value >> shift & 0x7F for shift in range(0, max(value.bit_length(), 1), 7)]
    return bytes([*(group | 0x80 for group in groups[:-1]), groups[-1]])


def length_delimited(number: int, value: bytes) -> bytes:
    return varint(number << 3 | Wire.LEN) + varint(len(value)) + value


def body(data: bytes, fields_limit: int = 1_000) -> Body:
    return Body(data, fields_limit)


FIELD_NUMBERS = st.integers(1, (1 << 29) - 1)
FIELDS = st.one_of(
    st.builds(length_delimited, FIELD_NUMBERS, st.binary(max_size=40)),
    st.builds(lambda number, value: varint(number << 3) + varint(value), FIELD_NUMBERS, st.integers(0, MASK)),
    st.builds(lambda number, value: varint(number << 3 | 1) + value, FIELD_NUMBERS, st.binary(min_size=8, max_size=8)),
    st.builds(lambda number, value: varint(number << 3 | 5) + value, FIELD_NUMBERS, st.binary(min_size=4, max_size=4)),
)
MESSAGES = st.lists(FIELDS).map(b"".join)


def ours(data: bytes) -> list[tuple[int, int, int | bytes]]:
    def value(field: Field) -> int | bytes:
        raw = data[field.start : field.end]
        if field.wire is Wire.VARINT:
            return next(varints(raw, lambda value: value))
        return raw if field.wire is Wire.LEN else int.from_bytes(raw, "little")

    return [(field.number, int(field.wire), value(field)) for field in body(data).fields()]


def theirs(data: bytes) -> list[tuple[int, int, int | bytes]]:
    fields = UnknownFieldSet(Empty.FromString(data))
    return [(field.field_number, field.wire_type, field.data) for field in fields]


@given(MESSAGES)
def test_a_message_has_the_fields_that_protobuf_finds(data: bytes) -> None:
    assert ours(data) == theirs(data)


@given(MESSAGES, st.data())
def test_a_message_cut_anywhere_reads_as_protobuf_reads_it(message: bytes, data: st.DataObject) -> None:
    cut = message[: data.draw(st.integers(0, len(message)))]
    try:
        expected = theirs(cut)
    except DecodeError:
        with pytest.raises(MalformedPayload):
            ours(cut)
    else:
        assert ours(cut) == expected


@given(st.binary(max_size=60))
def test_any_bytes_read_as_protobuf_reads_them_or_are_refused(data: bytes) -> None:
    with suppress(MalformedPayload):
        assert ours(data) == theirs(data)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\x00\x01", "protobuf field at byte 0 has no valid number"),
        (b"\x80\x80\x80\x80\x10\x01", "protobuf field at byte 0 has no valid number"),
        (b"\x08\x01\x0b", "protobuf field 1 at byte 2 is a group"),
        (b"\x0c", "protobuf field 1 at byte 0 is a group"),
        (b"\x0e", "protobuf field 1 at byte 0 is of unknown wire type 6"),
        (b"\x0f", "protobuf field 1 at byte 0 is of unknown wire type 7"),
        (b"\x08", "protobuf varint at byte 1 is cut off at byte 1"),
        (b"\x08\xff", "protobuf varint at byte 1 is cut off at byte 2"),
        (b"\x08" + b"\x80" * 10 + b"\x01", "protobuf varint at byte 1 is longer than 10 bytes"),
        (b"\x0a", "protobuf varint at byte 1 is cut off at byte 1"),
        (b"\x0a\x03ab", "protobuf field at byte 0 ends at byte 5, its message at byte 4"),
        (b"\x0a\xff\xff\xff\xff\x0fab", "protobuf field at byte 0 ends at byte 4294967301, its message at byte 8"),
        (b"\x0d\x00\x00\x00", "protobuf field at byte 0 ends at byte 5, its message at byte 4"),
        (b"\x09" + bytes(7), "protobuf field at byte 0 ends at byte 9, its message at byte 8"),
    ],
)
def test_what_is_no_message_is_refused_with_its_byte(data: bytes, reason: str) -> None:
    with pytest.raises(MalformedPayload) as caught:
        list(body(data).fields())

    assert str(caught.value) == reason


def test_a_field_ends_within_its_own_message_not_only_within_the_body() -> None:
    inner = b"\x0a\x04ab"
    data = length_delimited(1, inner) + b"rest"
    outer = next(body(data).fields())

    with pytest.raises(MalformedPayload, match="protobuf field at byte 2 ends at byte 8, its message at byte 6"):
        list(body(data).within(outer))


def test_the_fields_of_all_messages_count_against_one_limit() -> None:
    wire = body(length_delimited(1, b"\x08\x01" * 3), fields_limit=3)
    field = next(wire.fields())

    with pytest.raises(MalformedPayload, match="more than 3 fields"):
        list(wire.within(field))


def test_a_field_of_another_layout_is_refused() -> None:
    wire = body(b"\x08\x01")
    field = next(wire.fields())

    for read in (wire.text, wire.value, wire.within):
        with pytest.raises(MalformedPayload, match="field 1 before byte 2 is VARINT, expected LEN"):
            read(field)


def test_a_string_is_utf8() -> None:
    wire = body(length_delimited(1, "ä".encode()) + length_delimited(2, b"\xff"))
    good, bad = wire.fields()

    assert wire.text(good) == "ä"
    with pytest.raises(MalformedPayload, match="string at byte 6 is not UTF-8"):
        wire.text(bad)


NUMBERS = st.integers(0, MASK) | st.integers(0, 127) | st.integers(MASK - 128, MASK)


@given(st.lists(NUMBERS), st.integers(1, 3))
def test_varints_in_bulk_are_those_that_were_packed(numbers: list[int], times: int) -> None:
    data = b"".join(map(varint, numbers)) * times

    assert list(varints(data, lambda value: value)) == numbers * times


def test_varints_across_the_pieces_of_a_large_array() -> None:
    numbers = [1 << shift for shift in range(64)] * 700 + [5] * 70_000 + [(1 << 63) + 1] * 30_000

    assert list(varints(memoryview(b"".join(map(varint, numbers))), lambda value: value)) == numbers


@pytest.mark.parametrize(
    ("data", "reason"), [(b"\x01\x80", "the last of"), (b"\x01" + b"\x80" * 10 + b"\x01", "at their byte 1 is longer")]
)
def test_varints_that_are_cut_or_overlong_are_refused(data: bytes, reason: str) -> None:
    with pytest.raises(MalformedPayload, match=reason):
        varints(data, lambda value: value)


@pytest.mark.parametrize(
    ("take", "value", "bits", "expected"),
    [
        (signed, MASK, 32, -1),
        (signed, MASK, 64, -1),
        (signed, 1 << 31, 32, -(1 << 31)),
        (signed, (1 << 32) + 5, 32, 5),
        (unsigned, MASK, 32, (1 << 32) - 1),
        (unsigned, MASK, 64, MASK),
    ],
)
def test_integers_keep_their_lower_bits(take: Callable[..., int], value: int, bits: int, expected: int) -> None:
    assert take(value, bits=bits) == expected
