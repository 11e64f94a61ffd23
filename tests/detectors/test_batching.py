"""Micro-batching: equality with scoring alone, isolation of faults, bounds, fairness, and no waiting when idle."""

import asyncio
import gc
import threading
import weakref

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wayside.detectors.alibi.errors import WorkerLost
from wayside.detectors.kinds.protocol import OutOfMemory
from wayside.detectors.serving.batching import BatchLimits, MicroBatcher
from wayside.eventing.errors import MalformedEvent, MalformedPayload, QueueFull

from .conftest import wait_until


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

    def explain(self, rows: np.ndarray) -> np.ndarray:
        return -rows


async def wait_for_calls(detector: Detector, count: int) -> None:
    await wait_until(lambda: len(detector.calls) >= count)


@settings(max_examples=25, deadline=None)
@given(sizes=st.lists(st.tuples(st.integers(1, 9), st.booleans()), min_size=1, max_size=30), limit=st.integers(1, 20))
def test_everybody_gets_the_scores_of_his_own_rows(sizes: list[tuple[int, bool]], limit: int) -> None:
    async def run() -> None:
        detector = Detector()
        batcher = MicroBatcher(detector.score, 2, BatchLimits(max_batch_rows=limit), None, detector.explain)
        requests = [
            (np.arange(2.0 * size).reshape(size, 2) + 100 * number + 20, wants)
            for number, (size, wants) in enumerate(sizes)
        ]
        await batcher.start()
        answers = await asyncio.gather(*(batcher.score(rows, wants) for rows, wants in requests))
        await batcher.stop()
        for (rows, wants), answer in zip(requests, answers, strict=True):
            assert answer.rows.tolist() == rows.sum(axis=1).tolist()
            assert (answer.features.tolist() if wants else answer.features) == ((-rows).tolist() if wants else None)
        assert sum(detector.calls) == sum(size for size, _ in sizes)
        assert max(detector.calls) <= limit

    asyncio.run(run())


async def test_requests_that_arrive_during_a_batch_share_the_next() -> None:
    detector = Detector()
    batcher = MicroBatcher(detector.score, 1, BatchLimits(max_batch_rows=6))
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
    assert [str(getattr(answer, "rows", answer)) for answer in answers] == ["[1.]", "thirteen", "[3.]"]
    assert detector.calls == [3, 1, 2, 1, 1]


async def test_whose_fault_it_was_is_found_by_halves() -> None:
    detector = Detector()
    batcher = MicroBatcher(detector.score, 1, BatchLimits())
    requests = [asyncio.create_task(batcher.score(np.full((1, 1), float(value)))) for value in range(64)]
    await asyncio.sleep(0)
    await batcher.start()
    answers = await asyncio.gather(*requests, return_exceptions=True)
    await batcher.stop()
    assert [str(answer) for answer in answers if isinstance(answer, Exception)] == ["thirteen"]
    assert len(detector.calls) == 13  # twice a halving, and the first; 64 more would stall everybody


async def test_out_of_memory_makes_batches_smaller_and_fails_only_what_does_not_fit_alone() -> None:
    calls: list[int] = []

    def score(rows: np.ndarray) -> np.ndarray:
        calls.append(len(rows))
        if len(rows) > 4:
            raise OutOfMemory(f"no memory for {len(rows)} rows")
        return rows[:, 0]

    batcher = MicroBatcher(score, 1, BatchLimits())
    requests = [asyncio.create_task(batcher.score(np.full((size, 1), float(size)))) for size in (2, 2, 5, 2)]
    await asyncio.sleep(0)
    await batcher.start()
    answers = await asyncio.gather(*requests, return_exceptions=True)
    await batcher.stop()
    assert [str(getattr(answer, "rows", answer)) for answer in answers] == [
        "[2. 2.]",
        "[2. 2.]",
        "no memory for 5 rows",
        "[2. 2.]",
    ]
    assert calls == [11, 4, 7, 5, 2]


async def test_a_lost_worker_fails_the_whole_batch_and_is_asked_once() -> None:
    calls: list[int] = []

    def score(rows: np.ndarray) -> np.ndarray:
        calls.append(len(rows))
        raise WorkerLost("the worker did not answer in 60 s")

    batcher = MicroBatcher(score, 1, BatchLimits())
    requests = [asyncio.create_task(batcher.score(np.ones((1, 1)))) for _ in range(256)]
    await asyncio.sleep(0)
    await batcher.start()
    answers = await asyncio.gather(*requests, return_exceptions=True)
    await batcher.stop()
    assert {type(answer) for answer in answers} == {WorkerLost}
    assert calls == [256]


async def test_another_width_is_refused_before_it_is_queued() -> None:
    batcher = MicroBatcher(Detector().score, 2, BatchLimits())
    for rows in (np.zeros((1, 3)), np.zeros(2), np.zeros((1, 2, 1)), np.zeros((0, 2))):
        with pytest.raises(MalformedEvent, match="fitted on 2 features"):
            await batcher.score(rows)


@pytest.mark.parametrize(
    "limits",
    [BatchLimits(queue_requests=1), BatchLimits(queue_rows=2), BatchLimits(queue_bytes=16)],
    ids=["requests", "rows", "bytes"],
)
async def test_a_full_queue_refuses_at_once(limits: BatchLimits) -> None:
    batcher = MicroBatcher(Detector().score, 1, limits)
    waiting = asyncio.create_task(batcher.score(np.zeros((2, 1))))
    await asyncio.sleep(0)
    with pytest.raises(QueueFull, match="waiting to be scored"):
        await batcher.score(np.zeros((1, 1)))
    await batcher.start()
    assert (await waiting).rows.tolist() == [0.0, 0.0]
    assert (await batcher.score(np.zeros((1, 1)))).rows.tolist() == [0.0]
    await batcher.stop()
    with pytest.raises(QueueFull, match="stopping"):
        await batcher.score(np.zeros((1, 1)))


@pytest.mark.parametrize("limits", [BatchLimits(queue_rows=2), BatchLimits(queue_bytes=16)], ids=["rows", "bytes"])
async def test_what_never_fits_is_not_asked_to_come_again(limits: BatchLimits) -> None:
    with pytest.raises(MalformedPayload, match="can wait to be scored"):
        await MicroBatcher(Detector().score, 1, limits).score(np.zeros((3, 1)))


async def test_a_request_larger_than_a_batch_lets_others_in_after_each_block() -> None:
    detector = Detector()
    batcher = MicroBatcher(detector.score, 1, BatchLimits(max_batch_rows=8, max_wait_ms=0))
    ended: list[str] = []

    async def ask(name: str, rows: np.ndarray) -> None:
        await batcher.score(rows)
        ended.append(name)

    large = np.zeros((80, 1))
    tasks = [asyncio.create_task(ask("large", large))]
    await asyncio.sleep(0)
    tasks += [asyncio.create_task(ask(f"small {number}", np.ones((1, 1)))) for number in range(3)]
    await asyncio.sleep(0)
    await batcher.start()
    await asyncio.gather(*tasks)
    await batcher.stop()
    assert ended == ["small 0", "small 1", "small 2", "large"]
    assert detector.calls == [8, *[8] * 9, 3]


async def test_a_block_that_fails_ends_its_request() -> None:
    detector = Detector()
    batcher = MicroBatcher(detector.score, 1, BatchLimits(max_batch_rows=2))
    await batcher.start()
    with pytest.raises(ArithmeticError):
        await batcher.score(np.array([[1.0], [2.0], [13.0], [4.0], [5.0], [6.0], [7.0]]))
    assert (await batcher.score(np.ones((1, 1)))).rows.tolist() == [1.0]
    await batcher.stop()
    assert detector.calls == [2, 2, 1]


async def test_a_detector_that_gives_too_few_scores_is_found_out() -> None:
    batcher = MicroBatcher(lambda rows: rows[1:, 0], 1, BatchLimits())
    await batcher.start()
    with pytest.raises(ValueError, match="gave 2 scores for 3 rows"):
        await batcher.score(np.ones((3, 1)))
    await batcher.stop()


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


async def test_a_hundred_that_hang_up_during_a_slow_batch_are_not_worked_for() -> None:
    detector = Detector()
    batcher = MicroBatcher(detector.score, 1, BatchLimits(queue_requests=101))
    await batcher.start()
    detector.gate.clear()
    first = asyncio.create_task(batcher.score(np.ones((1, 1))))
    await wait_for_calls(detector, 1)
    gone = [asyncio.create_task(batcher.score(np.ones((5, 1)))) for _ in range(100)]
    await asyncio.sleep(0)
    for task in gone:
        task.cancel()
    await asyncio.gather(*gone, return_exceptions=True)
    stays = asyncio.create_task(batcher.score(np.ones((2, 1))))  # there is room again, at once
    await asyncio.sleep(0)
    detector.gate.set()
    await asyncio.gather(first, stays)
    await batcher.stop()
    assert detector.calls == [1, 2]


async def test_nothing_is_kept_of_those_who_hang_up_during_a_slow_batch() -> None:
    detector = Detector()
    batcher = MicroBatcher(detector.score, 4, BatchLimits(queue_requests=4))
    await batcher.start()
    detector.gate.clear()
    first = asyncio.create_task(batcher.score(np.ones((1, 4))))
    await wait_for_calls(detector, 1)
    arrays = list[weakref.ref[np.ndarray]]()
    for _ in range(50):
        rows = np.ones((16, 4))
        arrays.append(weakref.ref(rows))
        gone = asyncio.create_task(batcher.score(rows))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        del rows, gone
    gc.collect()
    assert sum(each() is not None for each in arrays) <= 1  # the last one's traceback is the test's own
    assert sum(type(each).__name__ == "_Pending" for each in gc.get_objects()) <= 2
    detector.gate.set()
    await first
    await batcher.stop()
    assert detector.calls == [1]


async def test_a_lone_client_never_waits_for_company() -> None:
    batcher = MicroBatcher(Detector().score, 1, BatchLimits(max_wait_ms=60_000))
    await batcher.start()
    async with asyncio.timeout(10):
        for _ in range(20):
            await batcher.score(np.ones((1, 1)))
    await batcher.stop()
    await batcher.stop()
