"""As few tasks as the waiting asks for, the order of the items, and lanes."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wayside.eventing.kafka.workers import Workers


class Work:
    """Notes what began, what ended and in which task; waits at chosen items until it is let go."""

    def __init__(self, *waits: int) -> None:
        self.gates = {item: asyncio.Event() for item in waits}
        self.begun: list[int] = []
        self.ended: list[int] = []
        self.tasks: set[object] = set()

    async def __call__(self, item: int) -> None:
        self.begun.append(item)
        self.tasks.add(asyncio.current_task())
        if item in self.gates:
            await self.gates[item].wait()
        self.ended.append(item)


async def test_work_that_does_not_wait_takes_one_task() -> None:
    work = Work()
    workers = Workers(work)
    workers.put(range(500))
    assert await workers.wait_idle(10)
    assert work.ended == list(range(500))
    assert len(work.tasks) == 1


async def test_an_item_that_waits_holds_up_no_other_and_all_begin_in_their_order() -> None:
    work = Work(0, 5)
    workers = Workers(work)
    workers.put(range(4))
    workers.put(range(4, 10))
    assert not await workers.wait_idle(0.05)
    assert work.begun == list(range(10))
    assert set(work.ended) == set(range(10)) - {0, 5}
    assert len(work.tasks) == 3
    for gate in work.gates.values():
        gate.set()
    assert await workers.wait_idle(10)
    workers.put([10])
    assert await workers.wait_idle(10)
    assert work.ended[-3:] == [0, 5, 10]


async def test_an_item_that_waits_holds_up_its_lane_alone() -> None:
    work = Work(0)
    workers = Workers(work, lane=lambda item: item % 2)
    workers.put(range(8))
    assert not await workers.wait_idle(0.05)
    assert work.ended == [1, 3, 5, 7]
    work.gates[0].set()
    assert await workers.wait_idle(10)
    assert work.ended[4:] == [0, 2, 4, 6]


async def test_stopping_forgets_what_was_not_begun_and_cancels_the_rest() -> None:
    work = Work(0)
    workers = Workers(work, lane=lambda item: "one")
    workers.put(range(3))
    await asyncio.sleep(0)
    await workers.stop()
    await workers.stop()
    assert (work.begun, work.ended) == ([0], [])
    assert await workers.wait_idle(0)
    assert workers.failure is None


async def test_what_work_raises_is_kept() -> None:
    async def fail(item: int) -> None:
        raise ZeroDivisionError(item)

    workers = Workers(fail)
    workers.put([1])
    assert await workers.wait_idle(10)
    assert isinstance(workers.failure, ZeroDivisionError)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=40), st.integers(1, 5))
@pytest.mark.filterwarnings("error")
def test_lanes_keep_their_order_however_long_each_item_takes(items: list[tuple[int, int]], batch: int) -> None:
    numbered = [(lane, turns, number) for number, (lane, turns) in enumerate(items)]
    ended: list[tuple[int, int]] = []

    async def work(item: tuple[int, int, int]) -> None:
        lane, turns, number = item
        for _ in range(turns):
            await asyncio.sleep(0)
        ended.append((lane, number))

    async def run() -> None:
        workers = Workers(work, lane=lambda item: item[0])
        for start in range(0, len(numbered), batch):
            workers.put(numbered[start : start + batch])
            await asyncio.sleep(0)
        assert await workers.wait_idle(10)

    asyncio.run(run())
    for lane in range(4):
        assert [number for one, number in ended if one == lane] == [n for one, _, n in numbered if one == lane]
