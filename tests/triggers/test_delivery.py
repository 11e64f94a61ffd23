from email.utils import formatdate

import pytest

from wayside.eventing.triggers.delivery import (
    LONGEST_BACKOFF_S,
    BackoffPolicy,
    DeliverySpec,
    Outcome,
    backoff_s,
    classify,
    parse_period,
    retry_after_s,
)


@pytest.mark.parametrize(
    ("statuses", "outcome"),
    [
        ((200, 201, 202, 204, 299), Outcome.DELIVERED),
        ((404, 408, 409, 429, 500, 502, 503, 504, 599), Outcome.RETRY),
        ((300, 301, 302, 307, 400, 401, 403, 405, 410, 413, 415, 422, 431), Outcome.PERMANENT),
    ],
)
def test_status(statuses: tuple[int, ...], outcome: Outcome) -> None:
    assert {classify(status) for status in statuses} == {outcome}


def test_backoff_doubles_or_grows_by_the_delay_and_is_bounded() -> None:
    exponential, linear = DeliverySpec(), DeliverySpec(policy=BackoffPolicy.LINEAR, delay_s=2)
    assert [backoff_s(retry, exponential) for retry in (1, 2, 3, 10)] == pytest.approx([0.2, 0.4, 0.8, 102.4])
    assert [backoff_s(retry, linear) for retry in (1, 2, 3)] == [2, 4, 6]
    assert backoff_s(10_000, exponential) == LONGEST_BACKOFF_S


@pytest.mark.parametrize(
    ("longest_s", "asked_s", "waited_s"),
    [(None, 60, 0.2), (10.0, 60, 10.0), (10.0, 5, 5.0), (10.0, 0.1, 0.2), (0.0, 9, 0.2)],
)
def test_retry_after_lengthens_up_to_its_maximum(longest_s: float | None, asked_s: float, waited_s: float) -> None:
    assert backoff_s(1, DeliverySpec(retry_after_max_s=longest_s), asked_s) == pytest.approx(waited_s)


def test_retry_after_is_read_from_seconds_or_a_date_of_429_and_503() -> None:
    now_ns = 1_700_000_000 * 10**9
    date = formatdate(1_700_000_030, usegmt=True).encode()
    assert retry_after_s(429, b"7", now_ns) == 7
    assert retry_after_s(503, date, now_ns) == pytest.approx(30)
    assert retry_after_s(503, date, now_ns + 10**12) == 0
    assert retry_after_s(500, b"7", now_ns) == retry_after_s(503, None, now_ns) == 0
    assert retry_after_s(503, b"-7", now_ns) == retry_after_s(503, b"soon \xff", now_ns) == 0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("PT0.2S", 0.2),
        ("PT1M30S", 90),
        ("PT2H", 7200),
        ("P1D", 86_400),
        ("P1DT1S", 86_401),
        ("P1W", 604_800),
        ("PT0S", 0),
    ],
)
def test_periods(text: str, seconds: float) -> None:
    assert parse_period(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "P", "PT", "P1DT", "1S", "0.2s", "PT-1S", "-PT1S", "P1M", "PT1S ", "PT\u0661S"])
def test_what_is_no_period(text: str) -> None:
    with pytest.raises(ValueError, match="ISO 8601"):
        parse_period(text)
