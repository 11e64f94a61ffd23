"""MLServer's content types: text, bytes and times of BYTES columns, however their elements were sent."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wayside.eventing.errors import MalformedPayload
from wayside.eventing.payloads.content_types import byte_values, bytes_content_type, datetimes, texts
from wayside.eventing.payloads.datatypes import Packed, pack_elements
from wayside.eventing.payloads.payload import Column, Datatype, FlatList, Values
from wayside.eventing.payloads.tensors import TreeRows


def column(values: Values, shape: tuple[int, ...], content_type: str | None = None) -> Column:
    return Column("text", Datatype.BYTES, shape, values, content_type=content_type)


def packed(*elements: bytes) -> Packed:
    return Packed(pack_elements(elements), Datatype.BYTES)


@pytest.mark.parametrize(
    ("values", "shape", "content_type", "expected"),
    [
        (packed(b"a", "Käse".encode()), (2,), None, [b"a", "Käse".encode()]),
        (packed(b"a", b"\xff"), (2, 1), "str", [b"a", b"\xff"]),
        (packed(b"aGk=", b""), (2,), "base64", [b"hi", b""]),
        (FlatList(["a", "ä"]), (2, 1), "str", [b"a", "ä".encode()]),
        (TreeRows(["a", None]), (2,), None, [b"a", None]),
        (TreeRows([[None], ["a"]]), (2, 1), "str", [None, b"a"]),
        (TreeRows(["aGk=", None]), (2,), "base64", [b"hi", None]),
        (TreeRows([{"b64": "aGk="}]), (1,), None, [b"hi"]),
        (TreeRows([{"b64": "aGk="}]), (1,), "base64", [b"hi"]),
        (TreeRows([{"b64": "aGk="}]), (1,), "image/png", [b"hi"]),
        (TreeRows([]), (0,), None, []),
        (packed(), (0, 3), None, []),
    ],
)
def test_the_bytes_of_each_row(
    values: Values, shape: tuple[int, ...], content_type: str | None, expected: list[bytes | None]
) -> None:
    assert byte_values(column(values, shape, content_type)) == expected


@pytest.mark.parametrize(
    ("values", "shape", "content_type", "reason"),
    [
        (packed(b"a", b"b"), (1, 2), None, "column 'text' of shape [1, 2] has no one element a row"),
        (packed(b"aGk=", b"a*k="), (2,), "base64", "column 'text', row 1 is not base64"),
        (packed(b"aGk"), (1,), "base64", "column 'text', row 0 is not base64"),
        (TreeRows(["aGk=", {"b64": "ä"}]), (2,), None, "column 'text', row 1 is not base64"),
        (TreeRows(["a", 3]), (2,), None, "column 'text', row 1 is a value of type int, expected text or bytes"),
        (TreeRows([{"b65": ""}]), (1,), None, "column 'text', row 0 is a value of type dict, expected text or bytes"),
        (TreeRows([["a", "b"]]), (1,), None, "column 'text', row 0 is a value of type list, expected text or bytes"),
        (
            TreeRows(["\ud800"]),
            (1,),
            None,
            "column 'text', row 0 is text with half a surrogate pair, which no UTF-8 holds",
        ),
    ],
)
def test_rows_that_are_no_bytes_are_refused(
    values: Values, shape: tuple[int, ...], content_type: str | None, reason: str
) -> None:
    with pytest.raises(MalformedPayload) as caught:
        byte_values(column(values, shape, content_type))

    assert str(caught.value) == reason


def test_text_is_utf8() -> None:
    assert texts(column(packed("Käse".encode(), b""), (2,))) == ["Käse", ""]
    assert texts(column(packed(b"S8Okc2U="), (1,), "base64")) == ["Käse"]
    with pytest.raises(MalformedPayload, match=r"^column 'text', row 1 is not UTF-8$"):
        texts(column(packed(b"a", b"\xff"), (2,)))


def test_times_keep_their_zone() -> None:
    sent = [b"2026-11-21T10:00:00", b"2026-11-21T10:00:00+02:00", b"2026-11-21", b"2026-11-21T10:00:00.5Z"]

    assert datetimes(column(packed(*sent), (4,), "datetime")) == [
        datetime(2026, 11, 21, 10),  # noqa: DTZ001 (sent without a zone)
        datetime(2026, 11, 21, 10, tzinfo=timezone(timedelta(hours=2))),
        datetime(2026, 11, 21),  # noqa: DTZ001 (sent without a zone)
        datetime(2026, 11, 21, 10, 0, 0, 500_000, UTC),
    ]


@given(st.lists(st.none() | st.datetimes(timezones=st.none() | st.timezones())))
def test_times_are_what_mlserver_encoded(times: list[datetime | None]) -> None:
    sent = TreeRows([time and time.isoformat() for time in times])

    read = datetimes(column(sent, (len(times),), "datetime"))

    assert [time and time.isoformat() for time in read] == sent.items


@pytest.mark.parametrize("sent", [b"yesterday", b"", b"1970-13-01", b"2026-11-21T25:00:00"])
def test_what_is_no_time_is_refused(sent: bytes) -> None:
    with pytest.raises(MalformedPayload, match=r"^column 'text', row 0 is not an ISO 8601 date and time$"):
        datetimes(column(packed(sent), (1,), "datetime"))


@pytest.mark.parametrize(
    ("datatype", "of_tensor", "of_request", "expected"),
    [
        (Datatype.BYTES, "base64", "str", "base64"),
        (Datatype.BYTES, None, "str", "str"),
        (Datatype.BYTES, "np", "str", None),
        (Datatype.BYTES, None, "pd", None),
        (Datatype.BYTES, "image/png", None, "image/png"),
        (Datatype.BYTES, 3, ["str"], None),
        (Datatype.FP32, "base64", "str", None),
    ],
)
def test_a_content_type_counts_where_it_says_what_bytes_hold(
    datatype: Datatype, of_tensor: Any, of_request: Any, expected: str | None
) -> None:
    assert bytes_content_type(datatype, of_tensor, of_request) == expected
