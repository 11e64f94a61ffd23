"""Micro-batching: equality with scoring alone, isolation of faults, bounds, and no waiting when idle."""

import asyncio
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wayside.detectors.batching import BatchLimits, MicroBatcher
from wayside.eventing.errors import MalformedEvent, QueueFull


class Detector:
    """Sums rows, notes its calls, waits for its gate, and fails on any batch that holds a 13."""

    def __init__(self) -> None:
        self.calls: list[int] = []
        self.gate = threading.Event()
        self.gate.set()

    def score(self, rows: np.ndarray) -> np.ndarray:
        self.calls.append(len(rows))
        assert self.gate.wait(10)
        if (rows == 13).any():
            raise ArithmeticError("thirteen")
        return rows.sum(axis=1)


async def wait_for_calls(detector: Detector, count: int) -> None:
    async with asyncio.timeout(10):
        while len(detector.calls) < count:
            await asyncio.sleep(0)


@settings(max_examples=25, deadline=None)
@given(sizes=st.lists(st.integers(1, 9), min_size=1, max_size=30), limit=st.integers(1, 20))
def test_everybody_gets_the_scores_of_his_own_rows(sizes: list[int], limit: int) -> None:
    async def run() -> None:
        detector = Detector()
        batcher = MicroBatcher(detector.score, 2, BatchLimits(rows=limit))
        requests = [np.full((size, 2), float(number + 20)) for number, size in enumerate(sizes)]
        await batcher.start()
        answers = await asyncio.gather(*(batcher.score(rows) for rows in requests))
        await batcher.stop()
        for rows, answer in zip(requests, answers, strict=True):
            assert answer.tolist() == rows.sum(axis=1).tolist()
        assert sum(detector.calls) == sum(sizes)
        assert all(call <= limit or call <= 9 for call in detector.calls)

    asyncio.run(run())


async def test_requests_that_arrive_during_a_batch_share_the_next() -> None:
    detector = Detector()
    batcher = MicroBatcher(detector.score, 1, BatchLimits(rows=6))
    await batcher.start()
    detector.gate.clear()
    first = asyncio.create_task(batcher.score(np.zeros((1, 1))))
    await wait_for_calls(detector, 1)
    others = [asyncio.create_task(batcher.score(np.ones((2, 1)))) for _ in range(5)]
    await asyncio.sleep(0)
    detector.gate.set()
    await asyncio.gather(first, *others)
    await batcher.stop()
    assert detector.calls == [1, 6, 4]


async def test_one_bad_request_does_not_spoil_the_others() -> None:
    detector = Detector()
    batcher = MicroBatcher(detector.score, 1, BatchLimits())
    requests = [batcher.score(np.full((1, 1), value)) for value in (1.0, 13.0, 3.0)]
    tasks = [asyncio.create_task(request) for request in requests]
    await asyncio.sleep(0)
    await batcher.start()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    await batcher.stop()
    assert [str(answer) for answer in answers] == ["[1.]", "thirteen", "[3.]"]
    assert detector.calls == [3, 1, 1, 1]


async def test_another_width_is_refused_before_it_is_queued() -> None:
    batcher = MicroBatcher(Detector().score, 2, BatchLimits())
    for rows in (np.zeros((1, 3)), np.zeros(2), np.zeros((1, 2, 1))):
        with pytest.raises(MalformedEvent, match="fitted on 2 features"):
            await batcher.score(rows)


async def test_a_full_queue_refuses_at_once_in_requests_and_in_bytes() -> None:
    batcher = MicroBatcher(Detector().score, 1, BatchLimits(queue_requests=1, queue_bytes=80))
    waiting = asyncio.create_task(batcher.score(np.zeros((1, 1))))
    await asyncio.sleep(0)
    with pytest.raises(QueueFull):
        await batcher.score(np.zeros((1, 1)))
    await batcher.start()
    assert (await waiting).tolist() == [0.0]
    with pytest.raises(QueueFull):
        await batcher.score(np.zeros((11, 1)))
    await batcher.stop()
    with pytest.raises(QueueFull):
        await batcher.score(np.zeros((1, 1)))


async def test_a_client_that_has_gone_is_not_worked_for() -> None:
    detector = Detector()
    batcher = MicroBatcher(detector.score, 1, BatchLimits())
    gone, stays = [asyncio.create_task(batcher.score(np.ones((1, 1)))) for _ in range(2)]
    await asyncio.sleep(0)
    gone.cancel()
    await batcher.start()
    await stays
    await batcher.stop()
    assert detector.calls == [1]


async def test_a_lone_client_never_waits_for_company() -> None:
    batcher = MicroBatcher(Detector().score, 1, BatchLimits(wait_s=60))
    await batcher.start()
    async with asyncio.timeout(10):
        for _ in range(20):
            await batcher.score(np.ones((1, 1)))
    await batcher.stop()
    await batcher.stop()
