"""Times as events carry them."""

import contextlib
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wayside.eventing.clock import FakeClock, SystemClock, format_time, parse_time
from wayside.eventing.errors import MalformedEvent

_SECOND = 1_000_000_000
_FIRST = -62_135_596_800 * _SECOND
_LAST = 253_402_300_800 * _SECOND - 1


@pytest.mark.parametrize(
    ("text", "time_ns"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01t00:00:00z", 0),
        ("2019-10-20T14:36:01.54878345Z", 1_571_582_161_548_783_450),
        ("2020-11-25T08:45:32.947168928Z", 1_606_293_932_947_168_928),
        ("2020-11-25T10:45:32.947168928+02:00", 1_606_293_932_947_168_928),
        ("2020-11-24T23:15:32.947168928-09:30", 1_606_293_932_947_168_928),
        ("1970-01-01T00:00:00-00:00", 0),
        ("1970-01-01T00:00:00.0000000019Z", 1),
        ("1970-01-01T00:00:00.12345678901234567890Z", 123_456_789),
        ("1969-12-31T23:59:59.5Z", -500_000_000),
        ("2016-12-31T23:59:60Z", 1_483_228_800 * _SECOND),
        ("2016-12-31T23:59:60.25Z", 1_483_228_800 * _SECOND + 250_000_000),
        ("2024-02-29T00:00:00Z", 1_709_164_800 * _SECOND),
        ("0001-01-01T00:00:00Z", _FIRST),
        ("9999-12-31T23:59:59.999999999Z", _LAST),
    ],
)
def test_a_timestamp_is_read(text: str, time_ns: int) -> None:
    assert parse_time(text) == time_ns


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "2020-11-25",
        "2020-11-25T08:45:32",
        "2020-11-25T08:45Z",
        "2020-11-25 08:45:32Z",
        "2020-11-25T08:45:32,5Z",
        "2020-11-25T08:45:32.Z",
        "2020-11-25T08:45:32+0200",
        "2020-11-25T08:45:32+02",
        "2020-11-25T08:45:32+24:00",
        "2020-11-25T24:00:00Z",
        "2020-11-25T08:60:32Z",
        "2020-11-25T08:45:61Z",
        "2020-13-25T08:45:32Z",
        "2023-02-29T00:00:00Z",
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+00:01",
        "9999-12-31T23:59:59-00:01",
        "9999-12-31T23:59:60Z",
        " 2020-11-25T08:45:32Z",
        "2020-11-25T08:45:32Z\n",
        "٢٠٢٠-11-25T08:45:32Z",
        "\ud800",
    ],
)
def test_anything_else_is_malformed(text: str) -> None:
    with pytest.raises(MalformedEvent):
        parse_time(text)


@given(st.integers(_FIRST, _LAST))
def test_what_is_written_reads_back(time_ns: int) -> None:
    text = format_time(time_ns)
    assert parse_time(text) == time_ns
    assert len(text) == len("2020-11-25T08:45:32.947168928Z")


@given(st.datetimes(timezones=st.timezones()))
def test_a_time_with_an_offset_agrees_with_datetime(moment: datetime) -> None:
    offset = moment.utcoffset()
    if offset is None or offset.total_seconds() % 60 or not 2 <= moment.year <= 9998:
        return
    since = moment.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    expected = (since.days * 86_400 + since.seconds) * _SECOND + since.microseconds * 1000
    assert parse_time(moment.isoformat()) == expected


@given(st.text())
def test_no_text_raises_anything_but_malformed(text: str) -> None:
    with contextlib.suppress(MalformedEvent):
        format_time(parse_time(text))


def test_a_fake_clock_stands_until_it_is_moved() -> None:
    clock = FakeClock()
    before_ns, before_s = clock.time_ns(), clock.monotonic_s()
    assert clock.time_ns() == before_ns
    clock.advance(1.5)
    assert clock.time_ns() - before_ns == 1_500_000_000
    assert clock.monotonic_s() - before_s == pytest.approx(1.5, abs=1e-6)


def test_the_system_clock_tells_the_machines_time() -> None:
    clock = SystemClock()
    assert clock.time_ns() > 1_700_000_000 * _SECOND
    assert clock.monotonic_s() <= clock.monotonic_s()
