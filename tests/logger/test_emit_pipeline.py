"""Several posts in line on one connection: answers go by their order, and whatever breaks a line, every event arrives
and is counted once."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import pairwise

import pytest
from emit_stage import ACCEPTED, Emitting, Exchange, RawSink, accepting, an_event
from hypothesis import given
from hypothesis import strategies as st

from wayside.eventing.sink import MemorySink, SinkUnavailable
from wayside.logger.counts import LoggerCounts
from wayside.logger.emit.answers import Answer, AnswerReader, BadAnswer
from wayside.logger.emit.emitter import Emitter
from wayside.logger.emit.http_address import HttpAddress
from wayside.logger.emit.http_pipeline import Pipelining
from wayside.logger.emit.http_sender import HttpSender, Pooling
from wayside.logger.settings import Delivery

DEPTH = 8
WARM = range(1000, 2000)
EMPTY = b"content-length: 0\r\n\r\n"


class Line(Emitting):
    """An emitter with one connection, which knows its sink for a quick one."""

    def __init__(self, sender: HttpSender) -> None:
        counts = LoggerCounts()
        super().__init__(Emitter(sender, Delivery(), counts), counts)
        self.sender = sender
        self.warm_posts = 0

    async def warm_up(self) -> None:
        while self.sender.gathers < DEPTH:
            self.offer(an_event(WARM[self.warm_posts]))
            self.warm_posts += 1
            await self.until(lambda: self.sent == self.warm_posts)

    async def until_sent(self, count: int) -> None:
        await self.until(lambda: self.sent == self.warm_posts + count)

    def check_balance(self, count: int) -> None:
        assert self.sent == self.counts.attempts["accepted"] == self.warm_posts + count
        assert self.emitter.in_memory == self.emitter.queue.bytes == 0
        assert not self.counts.dropped


class Sink(RawSink):
    """Takes everything until a test says otherwise; exchanges are numbered anew from then on."""

    def __init__(self) -> None:
        super().__init__(self.accept)
        self.begun = 0

    def then(self, answer: Callable[[int, Exchange], Awaitable[None]]) -> None:
        async def numbered(exchange: Exchange) -> None:
            number, self.begun = self.begun, self.begun + 1
            await answer(number, exchange)

        self.answer = numbered

    @property
    def seen(self) -> list[int]:
        """The numbers of the events that were accepted, in order, without those of the warming up."""
        return [number for event in self.accepted if (number := int(event.id)) not in WARM]


@asynccontextmanager
async def line(sink: RawSink, timeout_s: float = 2.0, connections: int = 1) -> AsyncIterator[Line]:
    pooling = Pooling(connections, pipeline=DEPTH)
    async with sink.listening():
        stage = Line(HttpSender(HttpAddress.parse(sink.url), timeout_s, pooling, None))
        await stage.emitter.start()
        try:
            await stage.warm_up()
            yield stage
        finally:
            await stage.emitter.stop()


async def test_posts_are_written_in_order_and_share_a_connection() -> None:
    sink, held = Sink(), []

    async def hold(_: int, exchange: Exchange) -> None:
        held.append(exchange)

    async with line(sink) as stage:
        sink.then(hold)
        stage.offer(*map(an_event, range(20)))
        for expected in (8, 16, 20):
            await stage.until(lambda expected=expected: len(held) == expected)
            for exchange in held[sink.begun - min(8, expected - len(sink.seen)) :]:
                await sink.accept(exchange)
        await stage.until_sent(20)
        assert sink.seen == list(range(20))
        assert sink.connections == 1
        stage.check_balance(20)


@pytest.mark.parametrize(
    ("body_bytes", "offered", "together"),
    [(20_000, 9, 8), (100_000, 2, 2), (200_000, 2, 1), (300_000, 9, 3), (2_000_000, 9, 1)],
)
async def test_what_is_in_line_on_a_connection_is_bounded_in_bytes(
    body_bytes: int, offered: int, together: int
) -> None:
    sink, held = Sink(), []

    async def hold(_: int, exchange: Exchange) -> None:
        held.append(exchange)

    async with line(sink, timeout_s=0.3) as stage:
        sink.then(hold)
        stage.offer(*(an_event(number, b"x" * body_bytes) for number in range(offered)))
        await stage.until(lambda: stage.counts.attempts["unavailable"] > 0)
        assert len(held) == together


async def say_slowly(exchange: Exchange, data: bytes) -> None:
    for byte in data:
        exchange.say(bytes([byte]))
        await exchange.writer.drain()
        await asyncio.sleep(0)


async def say(exchange: Exchange, data: bytes) -> None:
    exchange.say(data)


BREAKS = {
    "close": (b"", 0),
    "reset": (b"", 0),
    "nonsense": (b"nonsense\r\n\r\n", 1),
    "half an answer": (ACCEPTED[:20], 1),
    "a body without end": (b"HTTP/1.1 202 Accepted\r\ncontent-length: 9\r\n\r\nx", 1),
}


@pytest.mark.parametrize("speak", [say, say_slowly])
@pytest.mark.parametrize("how", BREAKS)
@pytest.mark.parametrize("position", [0, 1, 4, 7])
async def test_a_line_that_breaks_at_any_place_loses_nothing(
    position: int, how: str, speak: Callable[[Exchange, bytes], Awaitable[None]]
) -> None:
    sink = Sink()
    last, late = BREAKS[how]

    async def break_there(number: int, exchange: Exchange) -> None:
        if number == position:
            await speak(exchange, last)
            exchange.writer.transport.abort() if how == "reset" else exchange.writer.close()
        else:
            sink.accepted += exchange.posted.events
            await speak(exchange, ACCEPTED)

    async with line(sink) as stage:
        sink.then(break_there)
        stage.offer(*map(an_event, range(DEPTH)))
        await stage.until_sent(DEPTH)
        assert set(sink.seen) == set(range(DEPTH))
        if how != "reset":  # which may overtake answers
            assert len(sink.seen) == DEPTH
            assert stage.counts.attempts["unavailable"] <= late
        assert stage.sender.gathers == 1
        stage.check_balance(DEPTH)


ENDINGS = {
    "http/1.1": b"HTTP/1.1 202 Accepted\r\nconnection: close\r\n" + EMPTY,
    "http/1.0": b"HTTP/1.0 202 Accepted\r\n" + EMPTY,
    "to the close": b"HTTP/1.1 202 Accepted\r\n\r\nwhatever",
    "two for one": ACCEPTED + ACCEPTED[:30],
}


@pytest.mark.parametrize("ending", ENDINGS)
async def test_a_sink_that_answers_one_and_closes_is_sent_one_at_a_time(ending: str) -> None:
    sink = Sink()

    async def answer_and_close(number: int, exchange: Exchange) -> None:
        sink.accepted += exchange.posted.events
        exchange.say(ENDINGS[ending])
        exchange.writer.close()

    async with line(sink, connections=2) as stage:
        sink.then(answer_and_close)
        stage.offer(*map(an_event, range(30)))
        await stage.until_sent(30)
        assert sorted(set(sink.seen)) == list(range(30))
        assert len(sink.seen) <= 30 + 2
        assert stage.sender.gathers == 1
        stage.check_balance(30)


async def test_http_1_0_is_never_sent_two_at_once() -> None:
    sink, waiting = Sink(), []

    async def answer_old(exchange: Exchange) -> None:
        sink.accepted += exchange.posted.events
        waiting.append(len(exchange.posted.body))
        exchange.say(b"HTTP/1.0 202 Accepted\r\nconnection: keep-alive\r\n" + EMPTY)

    sink.answer = answer_old
    async with line(sink) as stage:
        held: list[Exchange] = []

        async def hold(_: int, exchange: Exchange) -> None:
            held.append(exchange)

        sink.then(hold)
        stage.offer(*map(an_event, range(5)))
        for number in range(5):
            await stage.until(lambda number=number: len(held) > number)
            await asyncio.sleep(0.01)
            assert len(held) == number + 1
            await answer_old(held[number])
        await stage.until_sent(5)


@pytest.mark.parametrize("status", [b"400 Bad Request", b"505 Not Supported"])
async def test_a_sink_that_refuses_posts_for_being_in_line_gets_them_one_by_one(status: bytes) -> None:
    sink = Sink()

    async def refuse_line(number: int, exchange: Exchange) -> None:
        if number < DEPTH:
            exchange.say(b"HTTP/1.1 %s\r\n" % status + EMPTY)
        else:
            await sink.accept(exchange)

    async with line(sink) as stage:
        sink.then(refuse_line)
        stage.offer(*map(an_event, range(DEPTH)))
        await stage.until_sent(DEPTH)
        assert sink.seen == list(range(DEPTH))
        assert stage.sender.gathers == 1
        assert stage.counts.attempts == {"accepted": stage.warm_posts + DEPTH, "unavailable": 0, "refused": 0}


async def test_an_event_that_is_refused_alone_too_does_not_end_pipelining() -> None:
    sink = Sink()

    async def refuse_one(_: int, exchange: Exchange) -> None:
        if exchange.posted.events[0].id == "3":
            exchange.say(b"HTTP/1.1 400 Bad\r\n" + EMPTY)
        else:
            await sink.accept(exchange)

    async with line(sink) as stage:
        sink.then(refuse_one)
        stage.offer(*map(an_event, range(DEPTH)))
        await stage.until_sent(DEPTH - 1)
        await stage.until(lambda: stage.counts.dropped["request", "refused"] == 1)
        stage.offer(*map(an_event, range(10, 30)))
        await stage.until_sent(DEPTH - 1 + 20)
        assert stage.sender.gathers > 1
        assert stage.emitter.in_memory == stage.emitter.queue.bytes == 0


async def test_a_sink_that_turns_slow_has_its_time_for_each_in_line() -> None:
    sink = Sink()

    async def take_long(_: int, exchange: Exchange) -> None:
        await asyncio.sleep(0.06)
        await sink.accept(exchange)

    async with line(sink, timeout_s=0.3) as stage:
        sink.then(take_long)
        stage.offer(*map(an_event, range(DEPTH + 2)))
        await stage.until_sent(DEPTH + 2)
        assert stage.counts.attempts["unavailable"] == 0
        assert stage.sender.gathers == 1
        assert sink.seen == list(range(DEPTH + 2))


async def test_what_hangs_is_tried_again_once_its_time_is_over() -> None:
    sink = Sink()

    async def hang_first(number: int, exchange: Exchange) -> None:
        if number >= DEPTH:
            await sink.accept(exchange)

    async with line(sink, timeout_s=0.1, connections=2) as stage:
        sink.then(hang_first)
        stage.offer(*map(an_event, range(DEPTH)))
        await stage.until_sent(DEPTH)
        assert sorted(sink.seen) == list(range(DEPTH))
        assert stage.counts.attempts["unavailable"] == DEPTH
        assert stage.sender.gathers == 1
        stage.check_balance(DEPTH)


async def test_a_stop_amid_a_line_counts_what_was_not_answered() -> None:
    sink = Sink()

    async def answer_two(number: int, exchange: Exchange) -> None:
        if number < 2:
            await sink.accept(exchange)

    async with line(sink) as stage:
        sink.then(answer_two)
        stage.offer(*map(an_event, range(DEPTH)))
        await stage.until_sent(2)
    assert stage.counts.dropped["request", "shutdown"] == DEPTH - 2
    assert stage.emitter.queue.bytes == stage.emitter.in_memory == 0


async def test_a_connecting_that_is_cancelled_is_tried_again() -> None:
    async with accepting().listening() as sink:
        counts = LoggerCounts()
        emitter = Emitter(HttpSender(HttpAddress.parse(sink.url), 2.0, Pooling(1), None), Delivery(), counts)
        await emitter.start()
        others = asyncio.all_tasks()
        emitter.offer(an_event(0))
        while not (connecting := asyncio.all_tasks() - others):
            await asyncio.sleep(0)
        for task in connecting:
            task.cancel()
        await Emitting(emitter, counts).until(lambda: counts.sent["request"] == 1)
        assert counts.attempts["unavailable"] == 1
        await emitter.stop()


# what waits for another try


async def test_what_waits_for_another_try_is_tried_at_the_stop() -> None:
    sink, counts = MemorySink([SinkUnavailable("gone", retry_after_s=60.0)] * 3), LoggerCounts()
    emitter = Emitter(sink, Delivery(workers=3), counts)
    await emitter.start()
    for number in range(3):
        emitter.offer(an_event(number))
    while sink.failures:
        await asyncio.sleep(0)
    await emitter.stop(5)
    assert counts.sent["request"] == 3


async def test_what_waits_for_another_try_is_tried_when_the_sink_is_back() -> None:
    failures = [SinkUnavailable("gone", retry_after_s=60.0)] * 2 + [SinkUnavailable("gone", retry_after_s=1.05)]
    sink, counts = MemorySink(list(failures)), LoggerCounts()
    emitter = Emitter(sink, Delivery(workers=3), counts)
    await emitter.start()
    for number in range(3):
        emitter.offer(an_event(number))
    await Emitting(emitter, counts).until(lambda: counts.sent["request"] == 3)
    assert counts.attempts["unavailable"] == 3
    await emitter.stop()


# the reader of several answers

KEPT = [
    (ACCEPTED, Answer(202)),
    (b"HTTP/1.1 204 No Content\r\n\r\n", Answer(204)),
    (b"HTTP/1.1 503 Busy\r\nretry-after: 7\r\ncontent-length: 4\r\n\r\nbusy", Answer(503, 7.0, b"busy")),
    (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", Answer(200, text=b"hi")),
    (b"HTTP/1.1 100 Continue\r\n\r\n" + ACCEPTED, Answer(202)),
]


def pieces_of(said: bytes, at: list[int]) -> list[bytes]:
    cuts = [0, *sorted(min(cut, len(said)) for cut in at), len(said)]
    return [said[a:b] for a, b in pairwise(cuts) if a < b]


@given(st.lists(st.sampled_from(KEPT), min_size=1, max_size=9), st.lists(st.integers(0, 900), max_size=9))
def test_answers_are_read_in_order_however_they_are_cut(given: list[tuple[bytes, Answer]], at: list[int]) -> None:
    reader, awaited, read = AnswerReader(), len(given), []
    for piece in pieces_of(b"".join(said for said, _ in given), at):
        read += reader.feed(piece, awaited - len(read))
    assert read == [answer for _, answer in given]
    assert not reader.begun


@given(st.lists(st.sampled_from(KEPT), max_size=5), st.sampled_from([b"!", b"HTTP/1.1 2", ACCEPTED, b"x\r\n\r\n"]))
def test_one_answer_too_many_is_never_anothers(given: list[tuple[bytes, Answer]], more: bytes) -> None:
    reader = AnswerReader()
    *read, last = reader.feed(ACCEPTED + b"".join(said for said, _ in given) + more, len(given) + 1)
    assert [*read, Answer(last.status, last.retry_after_s, last.text)] == [
        Answer(202),
        *(answer for _, answer in given),
    ]
    assert not last.keeps_alive


@given(st.lists(st.sampled_from(KEPT), max_size=5))
def test_what_came_before_nonsense_counts(given: list[tuple[bytes, Answer]]) -> None:
    said = b"".join(said for said, _ in given) + b"nonsense\r\n\r\n"
    if not given:
        with pytest.raises(BadAnswer):
            AnswerReader().feed(said, 9)
        return
    answers = AnswerReader().feed(said, 9)
    assert [answer.status for answer in answers] == [answer.status for _, answer in given]
    assert [answer.keeps_alive for answer in answers] == [True] * (len(given) - 1) + [False]


# how many at once


def quick(pipelining: Pipelining, now_s: float = 0.0, times: int = 10) -> int:
    for _ in range(times):
        pipelining.note_answers(1, 0.0005, now_s)
    return pipelining.depth


def test_the_depth_doubles_with_each_answer_of_a_quick_sink() -> None:
    pipelining = Pipelining(16)
    assert [quick(pipelining, times=1) for _ in range(6)] == [2, 4, 8, 16, 16, 16]
    assert quick(Pipelining(1)) == 1


@pytest.mark.parametrize(("answer_s", "depth"), [(0.001, 16), (0.005, 10), (0.02, 2), (0.06, 1), (2.0, 1)])
def test_the_depth_keeps_the_wait_in_line_short(answer_s: float, depth: int) -> None:
    pipelining = Pipelining(16)
    for _ in range(100):
        pipelining.note_answers(1, answer_s, 0.0)
    assert depth - 1 <= pipelining.depth <= depth
    assert pipelining.depth_after(1.0) == 1


def test_pipelining_is_off_for_longer_each_time_and_is_forgiven() -> None:
    pipelining, now_s = Pipelining(16), 0.0
    for off_s in (60, 120, 240, 480):
        assert quick(pipelining, now_s) == 16
        pipelining.note_broken(now_s)
        pipelining.note_broken(now_s + 1)
        assert quick(pipelining, now_s + off_s - 1) == 1
        now_s += off_s
    now_s += 1e5
    pipelining.note_broken(now_s)
    assert quick(pipelining, now_s + 59) == 1
    assert quick(pipelining, now_s + 60) == 16


def test_what_was_not_pipelinings_fault_does_not_count() -> None:
    pipelining = Pipelining(16)
    pipelining.note_broken(0.0)
    pipelining.absolve()
    assert quick(pipelining, 1.0) == 16
    pipelining.note_broken(2.0)
    assert quick(pipelining, 61.0) == 1
    assert quick(pipelining, 62.0) == 16
