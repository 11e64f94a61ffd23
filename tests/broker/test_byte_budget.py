"""The budget that lanes share: bounded as a whole, and never used up by those that hang."""

from hypothesis import given
from hypothesis import strategies as st

from wayside.eventing.broker.budget import ByteBudget, Share

LIMIT = 1_000


def fill(share: Share, size_bytes: int = 1) -> int:
    """Take until there is no more to take; what it holds then."""
    while share.take(size_bytes):
        pass
    return share.held_bytes


def nothing() -> None:
    pass


def test_one_lane_gets_half_and_leaves_half() -> None:
    budget = ByteBudget(LIMIT)
    assert fill(budget.share(nothing)) == LIMIT // 2
    assert budget.free_bytes == LIMIT // 2


def test_lanes_that_hang_come_to_equal_shares_as_their_attempts_end() -> None:
    budget = ByteBudget(LIMIT)
    hanging = [budget.share(nothing) for _ in range(9)]
    for _ in range(50):
        for share in hanging:
            share.give(share.held_bytes // 4)
            fill(share)
    assert {share.held_bytes for share in hanging} == {LIMIT // 10}
    assert fill(budget.share(nothing)) == LIMIT // 10 // 2


def test_a_lane_that_holds_nothing_may_always_have_one() -> None:
    budget = ByteBudget(LIMIT)
    for size_bytes in (5 * LIMIT, LIMIT):
        share = budget.share(nothing)
        assert share.ask_room()
        share.charge(size_bytes)
        assert not share.ask_room()
    assert budget.free_bytes == -5 * LIMIT


def test_whoever_asked_in_vain_is_woken_once_there_is_room() -> None:
    budget, woken = ByteBudget(LIMIT), list[str]()
    first, second = budget.share(lambda: woken.append("first")), budget.share(lambda: woken.append("second"))
    first.charge(600)
    second.charge(300)
    assert not first.ask_room()
    assert not second.ask_room()
    second.give(150)
    assert woken == ["second"]
    first.give(300)
    assert woken == ["second", "first"]
    first.give(100)
    assert woken == ["second", "first"]


def test_a_lane_that_ends_leaves_all_that_it_held() -> None:
    budget, woken = ByteBudget(LIMIT), list[str]()
    first, second = budget.share(lambda: woken.append("first")), budget.share(lambda: woken.append("second"))
    for share in (first, second):
        share.charge(LIMIT)
        assert not share.ask_room()
    first.close()
    second.close()
    assert woken == []
    assert budget.free_bytes == LIMIT


@given(
    steps=st.lists(
        st.tuples(st.integers(0, 4), st.sampled_from(["take", "event", "give"]), st.integers(0, LIMIT)), max_size=200
    )
)
def test_together_they_hold_the_limit_and_one_event_each_at_most(steps: list[tuple[int, str, int]]) -> None:
    """Whatever the order: an event of unknown size is taken where there is room, and may be as large as the limit."""
    budget = ByteBudget(LIMIT)
    shares = [budget.share(nothing) for _ in range(5)]
    for lane, step, size_bytes in steps:
        share = shares[lane]
        free = budget.free_bytes
        if step == "take" and share.take(size_bytes):
            assert share.held_bytes <= budget.free_bytes
        elif step == "event" and share.ask_room():
            share.charge(size_bytes)
            assert budget.free_bytes >= min(free, 0) - size_bytes
        elif step == "give":
            share.give(min(size_bytes, share.held_bytes))
        held = sum(share.held_bytes for share in shares)
        assert held == LIMIT - budget.free_bytes <= LIMIT + len(shares) * LIMIT
