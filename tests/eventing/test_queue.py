"""The bounded queue: its balance at every moment, its bounds, and takers that are cancelled."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wayside.eventing.queue import BoundedQueue


def _balanced(queue: BoundedQueue[int]) -> bool:
    return queue.counts.offered == queue.counts.taken + len(queue) + queue.counts.refused


def test_a_full_queue_refuses_and_counts() -> None:
    queue = BoundedQueue[int](limit_items=2, limit_bytes=10)
    assert [queue.offer(1, 5), queue.offer(2, 6), queue.offer(3, 5), queue.offer(4, 0)] == [True, False, True, False]
    assert (len(queue), queue.bytes, queue.counts.refused) == (2, 10, 2)
    assert _balanced(queue)


async def test_items_leave_in_order_and_make_room() -> None:
    queue = BoundedQueue[int](limit_items=2, limit_bytes=10)
    queue.offer(1, 4)
    queue.offer(2, 6)
    assert [await queue.wait_take(), await queue.wait_take()] == [1, 2]
    assert queue.bytes == 0
    assert queue.offer(3, 10)


async def test_a_closed_queue_gives_what_it_has_then_none() -> None:
    queue = BoundedQueue[int](limit_items=4, limit_bytes=10)
    queue.offer(1, 1)
    queue.close()
    queue.close()
    assert not queue.offer(2, 1)
    assert [await queue.wait_take(), await queue.wait_take(), await queue.wait_take()] == [1, None, None]
    assert _balanced(queue)


async def test_close_ends_every_wait() -> None:
    queue = BoundedQueue[int](limit_items=4, limit_bytes=10)
    takers = [asyncio.create_task(queue.wait_take()) for _ in range(3)]
    await asyncio.sleep(0)
    queue.offer(1, 1)
    queue.close()
    assert sorted(await asyncio.gather(*takers), key=str) == [1, None, None]


async def test_each_of_several_waiting_takers_gets_an_item() -> None:
    queue = BoundedQueue[int](limit_items=4, limit_bytes=10)
    takers = [asyncio.create_task(queue.wait_take()) for _ in range(3)]
    await asyncio.sleep(0)
    for item in range(3):
        queue.offer(item, 1)
    assert sorted(item for item in await asyncio.gather(*takers) if item is not None) == [0, 1, 2]


async def test_a_taker_cancelled_after_it_was_woken_wakes_the_next() -> None:
    queue = BoundedQueue[int](limit_items=4, limit_bytes=10)
    first, second = (asyncio.create_task(queue.wait_take()) for _ in range(2))
    await asyncio.sleep(0)
    queue.offer(7, 1)
    first.cancel()
    async with asyncio.timeout(5):
        assert await second == 7
    with pytest.raises(asyncio.CancelledError):
        await first
    assert _balanced(queue)


_STEPS = st.lists(
    st.tuples(st.just("offer"), st.integers(0, 6))
    | st.tuples(st.sampled_from(["take", "cancel", "turn", "close"]), st.integers(0, 3)),
    max_size=40,
)


@given(_STEPS)
def test_the_balance_holds_whatever_happens(steps: list[tuple[str, int]]) -> None:
    asyncio.run(_drive(steps))


async def _drive(steps: list[tuple[str, int]]) -> None:
    """Take the steps; afterwards no item lies in the queue while a taker waits, and none came twice or out of order."""
    queue = BoundedQueue[int](limit_items=3, limit_bytes=10)
    accepted: list[int] = []
    takers: list[asyncio.Task[int | None]] = []
    for number, (step, size) in enumerate(steps):
        if step == "offer" and queue.offer(number, size):
            accepted.append(number)
        elif step == "take":
            takers.append(asyncio.create_task(queue.wait_take()))
        elif step == "cancel" and size < len(takers):
            takers[size].cancel()
        elif step == "turn":
            await asyncio.sleep(0)
        elif step == "close":
            queue.close()
        assert _balanced(queue)
        assert queue.bytes <= 10
        assert len(queue) <= 3
    for _ in range(len(takers) + 3):
        await asyncio.sleep(0)
    assert not len(queue) or all(taker.done() for taker in takers)
    queue.close()
    taken = [item for item in await asyncio.gather(*takers, return_exceptions=True) if isinstance(item, int)]
    rest = [item for item in [await queue.wait_take() for _ in range(4)] if item is not None]
    assert sorted(taken + rest) == accepted
    assert rest == sorted(rest)
    assert queue.counts.taken == len(accepted)
    assert queue.bytes == 0


async def test_bytes_of_a_taken_item_count_while_it_is_held() -> None:
    queue: BoundedQueue[int] = BoundedQueue(10, 100)
    assert queue.offer(1, 60)
    assert await queue.wait_take() == 1
    with queue.holding(60):
        assert not queue.offer(2, 60)
        assert queue.offer(3, 40)
    assert queue.bytes == 40
    assert queue.offer(4, 60)
