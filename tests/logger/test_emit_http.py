"""Events over HTTP to sinks that are well, slow, dead or lying: each is delivered once the sink is well, and none twice
to a sink that accepted it."""

import asyncio
import subprocess
import sys

import pytest
from emit_stage import ACCEPTED, Emitting, Exchange, RawSink, accepting, an_event, emitting

from wayside.eventing.errors import ConfigurationError
from wayside.logger.counts import LoggerCounts
from wayside.logger.emit.emitter import Emitter
from wayside.logger.emit.http_address import HttpAddress
from wayside.logger.emit.http_sender import HttpSender, Pooling
from wayside.logger.emit.log_sink import log_sink
from wayside.logger.settings import Delivery


async def test_events_arrive_over_few_connections_that_are_kept() -> None:
    async with accepting().listening() as sink, emitting(sink.url, workers=3) as stage:
        stage.offer(*map(an_event, range(200)))
        await stage.until(lambda: stage.sent == 200)
        assert sink.ids == set(range(200))
        assert len(sink.accepted) == 200
        assert sink.connections <= 3
        assert sink.posts[0].start_line == b"POST /ns/broker?q=%7B1 HTTP/1.1"
        assert sorted(sink.accepted, key=lambda event: int(event.id)) == [an_event(number) for number in range(200)]
        assert stage.counts.attempts == {"accepted": 200, "unavailable": 0, "refused": 0}
        assert sum(stage.counts.send.counts) == 200
        assert stage.emitter.in_memory == stage.emitter.queue.bytes == 0


async def test_credentials_in_the_url_are_sent_as_basic_ones_and_not_told(caplog: pytest.LogCaptureFixture) -> None:
    async def refuse_first(exchange: Exchange) -> None:
        if exchange.number:
            await sink.accept(exchange)
        else:
            exchange.say(b"HTTP/1.1 503 no\r\ncontent-length: 0\r\n\r\n")

    sink = RawSink(refuse_first)
    async with sink.listening(), emitting(sink.url.replace("://", "://user:pass%40word@")) as stage:
        stage.offer(an_event(0))
        await stage.until(lambda: stage.sent == 1)
    sent = [value for posted in sink.posts for name, value in posted.headers if name == b"authorization"]
    assert sent == [b"Basic dXNlcjpwYXNzQHdvcmQ="] * 2
    assert "answered 503" in caplog.text
    assert "word" not in caplog.text


async def test_no_more_than_the_workers_posts_are_on_their_way() -> None:
    held: list[Exchange] = []

    async def hold(exchange: Exchange) -> None:
        held.append(exchange)

    sink = RawSink(hold)
    async with sink.listening(), emitting(sink.url, workers=4, pipeline=1) as stage:
        stage.offer(*map(an_event, range(20)))
        for expected in range(4, 21):
            await stage.until(lambda expected=expected: len(held) >= min(expected, 20))
            await asyncio.sleep(0)
            assert len(held) == min(expected, 20)
            await sink.accept(held[expected - 4])
        for exchange in held[17:]:
            await sink.accept(exchange)
        await stage.until(lambda: stage.sent == 20)
        assert sink.connections == 4


async def test_a_large_body_arrives_whole() -> None:
    data = b'{"x": "' + bytes(range(35, 90)) * 40_000 + b'"}'
    async with accepting().listening() as sink, emitting(sink.url) as stage:
        stage.offer(an_event(0, data), an_event(1, b""))
        await stage.until(lambda: stage.sent == 2)
        assert {event.data for event in sink.accepted} == {data, b""}


LYING = [
    b"",
    b"nonsense\r\n\r\n",
    b"HTTP/1.1 202 Accepted\r\n",
    b"HTTP/1.1 202 Accepted\r\ncontent-length: 10\r\n\r\nshort",
    b"HTTP/1.1 202 Accepted\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
    b"HTTP/1.1 202 Accepted\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n",
    b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\ncontent-length: 1\r\n\r\n",
    b"HTTP/1.1 202 Accepted\r\nx: " + b"y" * 100_000,
    b"HTTP/1.1 100 Continue\r\n\r\n" * 10_000,
    b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
    b"HTTP/1.1 500 Broken\r\ncontent-length: 0\r\n\r\n",
    b"HTTP/1.1 404 Not Found\r\ncontent-length: 3\r\n\r\nyet",
]


@pytest.mark.parametrize("said", LYING)
async def test_a_sink_that_lies_is_tried_again_until_it_is_well(said: bytes) -> None:
    async def lie_first(exchange: Exchange) -> None:
        if exchange.number:
            await sink.accept(exchange)
        else:
            exchange.say(said)
            exchange.writer.close()

    sink = RawSink(lie_first)
    async with sink.listening(), emitting(sink.url, workers=1) as stage:
        stage.offer(an_event(0))
        await stage.until(lambda: stage.sent == 1)
        assert sink.ids == {0}
        assert stage.counts.attempts == {"accepted": 1, "unavailable": 1, "refused": 0}


@pytest.mark.parametrize(
    "said", [b"", b"HTTP/1.1 202 Accepted\r\ncontent-length: 9\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\nmore"]
)
async def test_an_answer_that_does_not_end_in_time_is_tried_again(said: bytes) -> None:
    async def hang_first(exchange: Exchange) -> None:
        if exchange.number:
            await sink.accept(exchange)
        else:
            exchange.say(said)

    sink = RawSink(hang_first)
    async with sink.listening(), emitting(sink.url, workers=1, timeout_s=0.1) as stage:
        stage.offer(an_event(0))
        await stage.until(lambda: stage.sent == 1)
        assert sink.connections == 2


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 200 OK\r\n\r\nuntil the close",
        b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
        b"HTTP/1.0 202 Accepted\r\n\r\n",
        ACCEPTED,
        ACCEPTED + ACCEPTED,
    ],
)
async def test_a_sink_that_closes_after_each_answer_is_sent_everything_once(said: bytes) -> None:
    async def answer_and_close(exchange: Exchange) -> None:
        sink.accepted += exchange.posted.events
        exchange.say(said)
        exchange.writer.close()

    sink = RawSink(answer_and_close)
    async with sink.listening(), emitting(sink.url, workers=2) as stage:
        stage.offer(*map(an_event, range(20)))
        await stage.until(lambda: stage.sent == 20)
        assert sink.ids == set(range(20))
        assert len(sink.accepted) == 20


async def test_a_post_that_met_a_closing_connection_is_sent_again_at_once() -> None:
    async def close_in_silence(exchange: Exchange) -> None:
        if exchange.number == 1:
            exchange.writer.transport.abort()
        else:
            await sink.accept(exchange)

    sink = RawSink(close_in_silence)
    async with sink.listening(), emitting(sink.url, workers=1) as stage:
        stage.offer(an_event(0))
        await stage.until(lambda: stage.sent == 1)
        stage.offer(an_event(1))
        await stage.until(lambda: stage.sent == 2)
        assert stage.counts.attempts["unavailable"] == 0
        assert sink.connections == 2


async def test_bytes_that_nobody_asked_for_end_a_connection() -> None:
    async def babble(exchange: Exchange) -> None:
        await sink.accept(exchange)
        await exchange.writer.drain()
        if not exchange.number:
            exchange.say(b"HTTP/1.1 500 Broken\r\ncontent-length: 0\r\n\r\n")

    sink = RawSink(babble)
    async with sink.listening(), emitting(sink.url, workers=1) as stage:
        stage.offer(an_event(0))
        await stage.until(lambda: stage.sent == 1)
        stage.offer(an_event(1))
        await stage.until(lambda: stage.sent == 2)
        assert sink.ids == {0, 1}


@pytest.mark.parametrize("status", [b"301 Moved\r\nlocation: http://127.0.0.1:1/", b"400 Bad", b"401 No", b"413 Large"])
async def test_what_is_refused_is_dropped_and_a_redirect_is_not_followed(
    status: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async def refuse(exchange: Exchange) -> None:
        exchange.say(b"HTTP/1.1 %s\r\ncontent-length: 6\r\n\r\nreason" % status)

    sink = RawSink(refuse)
    async with sink.listening(), emitting(sink.url) as stage:
        stage.offer(an_event(0))
        await stage.until(lambda: stage.counts.dropped["request", "refused"] == 1)
        assert len(sink.posts) == stage.counts.attempts["refused"] == 1
    assert f"answered {status[:3].decode()}: reason" in caplog.text


async def test_retry_after_is_waited_for() -> None:
    times: list[float] = []

    async def busy_first(exchange: Exchange) -> None:
        times.append(asyncio.get_running_loop().time())
        if exchange.number:
            await sink.accept(exchange)
        else:
            exchange.say(b"HTTP/1.1 503 Busy\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n")

    sink = RawSink(busy_first)
    async with sink.listening(), emitting(sink.url) as stage:
        stage.offer(an_event(0))
        await stage.until(lambda: stage.sent == 1)
        assert times[1] - times[0] > 0.9
        assert sum(stage.counts.send.counts) == 2


async def test_a_sink_that_is_not_there_yet_is_sent_everything_when_it_is(caplog: pytest.LogCaptureFixture) -> None:
    sink = accepting()
    async with sink.listening():
        pass
    async with emitting(sink.url) as stage:
        stage.offer(*map(an_event, range(50)))
        await stage.until(lambda: stage.counts.attempts["unavailable"] > 5)
        async with sink.listening():
            await stage.until(lambda: stage.sent == 50)
        assert sink.ids == set(range(50))
    assert "Connect" in caplog.text


async def test_a_stop_with_posts_in_hand_ends_in_time_and_counts_them() -> None:
    async def hang(_: Exchange) -> None:
        await asyncio.Event().wait()

    sink = RawSink(hang)
    async with sink.listening():
        async with emitting(sink.url, workers=2) as stage:
            stage.offer(*map(an_event, range(5)))
            await stage.until(lambda: len(sink.posts) == 2)
        assert stage.counts.dropped["request", "shutdown"] == 5
        assert stage.emitter.queue.bytes == 0


async def test_a_stop_flushes_what_waits() -> None:
    async with accepting().listening() as sink:
        async with emitting(sink.url, grace_s=5, workers=2) as stage:
            stage.offer(*map(an_event, range(100)))
        assert sink.ids == set(range(100))


@pytest.mark.parametrize("pooling", [Pooling(1, idle_s=0.1), Pooling(1, life_s=0.1)])
async def test_connections_are_closed_when_they_are_idle_or_old(pooling: Pooling) -> None:
    async with accepting().listening() as sink:
        counts = LoggerCounts()
        emitter = Emitter(HttpSender(HttpAddress.parse(sink.url), 2.0, pooling, None), Delivery(), counts)
        await emitter.start()
        stage = Emitting(emitter, counts)
        while sink.connections < 3:
            stage.offer(an_event(0))
            await stage.until(lambda: not emitter.in_memory)
            await asyncio.sleep(0.03 if pooling.life_s < 1 else 0.15)
        await emitter.stop()
        assert counts.attempts["unavailable"] == 0


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("ftp://h/", "not an absolute"),
        ("http://", "not an absolute"),
        ("http://u:secret@h/\x01", "not an absolute"),
        ("http://u:secret@[h/", "is not a URL"),
        ("http://h:x/", "is not a URL"),
        ("http://h/a b", "not an absolute"),
        ("http://h/\r\nx: y", "not an absolute"),
        ("broker", "not an absolute"),
        ("file:relative", "file:///"),
        ("file://host/x", "file:///"),
    ],
)
def test_a_log_url_that_is_none_is_refused(url: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words) as caught:
        log_sink(Delivery(url))
    assert "secret" not in str(caught.value)


async def test_a_name_that_nobody_knows_is_told(caplog: pytest.LogCaptureFixture) -> None:
    async with emitting("http://no-such-host.invalid/") as stage:
        stage.offer(an_event(0))
        await stage.until(lambda: stage.counts.attempts["unavailable"] > 0)
    assert "no-such-host.invalid" in caplog.text


def test_the_standard_library_is_all_that_is_needed() -> None:
    program = (
        "import sys; import wayside.logger.emit.log_sink\n"
        "print({'httptools', 'uvloop', 'prometheus_client', 'confluent_kafka', 'numpy'}.intersection(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30)
    assert done.stdout == "set()\n", done.stderr
