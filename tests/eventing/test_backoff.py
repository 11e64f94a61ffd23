"""Delays between attempts: growing, bounded, drawn, and as long as who is asked wants, within bounds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wayside.eventing.backoff import Backoff

BACKOFF = Backoff(first_s=0.1, limit_s=5.0, asked_limit_s=60.0)


@given(st.integers(1, 10_000))
def test_a_delay_lies_between_half_and_all_of_what_it_may_be(failures: int) -> None:
    ceiling_s = min(5.0, 0.1 * 2 ** min(failures - 1, 30))
    assert ceiling_s / 2 <= BACKOFF.delay_s(failures) <= ceiling_s


@pytest.mark.parametrize(("asked_s", "waits_s"), [(7.0, 7.0), (3_600.0, 60.0)])
def test_what_is_asked_for_is_waited_up_to_a_bound(asked_s: float, waits_s: float) -> None:
    assert BACKOFF.delay_s(1, asked_s) == waits_s


def test_who_asks_for_less_changes_nothing() -> None:
    assert BACKOFF.delay_s(20, 0.001) >= 2.5


def test_delays_double() -> None:
    assert all(0.05 * 2**n <= BACKOFF.delay_s(n + 1) <= 0.1 * 2**n for n in range(6))
