"""The balance: each equation is told apart, and nothing is told where all hold."""

from dataclasses import replace

import pytest

from wayside.local.balance import Balance, TriggerCounts

TRIGGER = TriggerCounts("records", matched=30, delivered=30, dead_lettered=0, waiting=0, attempts=33)
EVEN = Balance(answered=100, recorded=100, scored=100, in_windows=80, open=20, triggers=[TRIGGER])


def test_an_even_balance_has_no_differences() -> None:
    assert EVEN.holds
    assert list(EVEN.differences()) == []


def test_rows_without_a_200_are_scored_and_windowed_too() -> None:
    assert replace(EVEN, unanswered=5, scored=105, open=25).holds
    assert not replace(EVEN, unanswered=5).holds


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"answered": 101}, "101 rows were answered, 100 recorded"),
        ({"scored": 99}, "99 scored"),
        ({"open": 19}, "99 are in windows, open, late or left out"),
        ({"dropped": 2}, "dropped 2 events"),
        ({"waiting": 3}, "3 events are still on their way"),
        ({"triggers": [replace(TRIGGER, delivered=29)]}, "trigger records: 30 events matched, 29 are accounted for"),
        ({"triggers": [replace(TRIGGER, delivered=28, dead_lettered=2)]}, "2 events are dead letters"),
    ],
)
def test_each_difference_is_told_in_words(change: dict[str, object], words: str) -> None:
    balance = replace(EVEN, **change)  # type: ignore[arg-type]
    assert [words in difference for difference in balance.differences()] == [True]


def test_duplicates_and_attempts_are_no_part_of_it() -> None:
    assert replace(EVEN, duplicates=7, triggers=[replace(TRIGGER, attempts=90)]).holds


def test_counts_come_from_the_brokers_view() -> None:
    view = {"namespace": "default", "broker": "default", "name": "records", "matched": 3, "delivered": 1}
    counts = TriggerCounts.of({**view, "dead_lettered": 1, "waiting": 1, "attempts": 5})
    assert counts == TriggerCounts("records", 3, 1, 1, 1, 5)
    assert counts.balances
