"""What a carrier says of its subscriptions: the broker's view, and a consumer group's offsets as the same counts."""

import json

import pytest

from wayside.eventing.kafka.address import parse_address
from wayside.eventing.kafka.groups import GroupPosition
from wayside.eventing.kafka.subscription import Subscription
from wayside.local.balance import TriggerCounts
from wayside.local.carriers import Carried, counts_of

SUBSCRIPTION = Subscription(parse_address("kafka://host:9092/events"), "wayside-outlier")


def letters(count: int) -> GroupPosition:
    return GroupPosition("wayside-outlier.dead-letters", 0, low=0, end=count, committed=None)


@pytest.mark.parametrize(
    ("positions", "dead_lettered", "delivered", "waiting"),
    [
        ([], 0, 0, 0),
        ([GroupPosition("events", 0, low=0, end=10, committed=10)], 0, 10, 0),
        ([GroupPosition("events", 0, low=0, end=10, committed=7)], 2, 5, 3),
        # nothing committed yet: all that the topic still holds is to come
        ([GroupPosition("events", 0, low=4, end=10, committed=None)], 0, 4, 6),
        (
            [
                GroupPosition("events", 0, low=0, end=10, committed=10),
                GroupPosition("events", 1, low=0, end=5, committed=1),
            ],
            *(0, 11, 4),
        ),
    ],
)
def test_a_groups_offsets_are_counts_that_balance(
    positions: list[GroupPosition], dead_lettered: int, delivered: int, waiting: int
) -> None:
    counts = counts_of(SUBSCRIPTION, [*positions, letters(dead_lettered)])
    assert (counts.delivered, counts.dead_lettered, counts.waiting) == (delivered, dead_lettered, waiting)
    assert counts.balances
    assert counts.attempts is None


def test_what_waits_is_the_sum_over_subscriptions() -> None:
    counts = [TriggerCounts("a", 9, 5, 0, 4, None), TriggerCounts("b", 9, 8, 0, 1, None)]
    assert Carried(counts).waiting == 5


def test_the_brokers_view_is_read() -> None:
    trigger = {"name": "a", "matched": 3, "delivered": 2, "dead_lettered": 1, "waiting": 0, "attempts": 7}
    view = {"events": 3, "duplicates": 4, "conflicts": 5, "triggers": [{"namespace": "x", "broker": "y", **trigger}]}
    carried = Carried.of_view(json.dumps(view).encode())
    assert carried == Carried([TriggerCounts("a", 3, 2, 1, 0, 7)], 4, 5)
