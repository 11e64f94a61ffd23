"""The event route over real sockets: what is answered, what is refused and how, and that nobody waits for the gone."""

import asyncio
import gzip
import json
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import pytest

from wayside.detectors.kinds.protocol import OutOfMemory
from wayside.detectors.serving.answering import PLAIN, Answer, OutlierType, Wanted
from wayside.detectors.serving.connection import ConnectionLimits
from wayside.detectors.serving.metrics import DetectorMetrics
from wayside.detectors.serving.request_body import RouteLimits
from wayside.detectors.tabular.event_rows import Side
from wayside.eventing.errors import MalformedEvent, QueueFull, WaysideError
from wayside.eventing.event import CloudEvent
from wayside.eventing.http.message import Headers, Response
from wayside.eventing.http_binding import encode_structured
from wayside.eventing.vocabulary import OUTLIER, REQUEST

from .conftest import TIME, Served, request_event, sample, serve_answering, wait_until
from .loop_turns import loop_turns

EVENT: Headers = [
    (b"ce-specversion", b"1.0"),
    (b"ce-id", b"1"),
    (b"ce-source", b"s"),
    (b"ce-type", REQUEST.encode()),
    (b"ce-time", TIME.encode()),
]
LINES = b"".join(b"%b: %b\r\n" % header for header in EVENT)
BODY = b'{"instances":[[1]]}'
MOST_S = 0.06  # that the event loop may be kept from others


@dataclass
class Teller:
    """A detector that replies with what it was given, or raises; it waits for its gate."""

    raises: Exception | None = None
    may_drop: bool = True
    types = Side.REQUEST.types
    metrics: DetectorMetrics = field(default_factory=DetectorMetrics)
    asked: list[tuple[CloudEvent, Wanted]] = field(default_factory=list)
    finished: int = 0
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.gate.set()

    async def answer(self, event: CloudEvent, wanted: Wanted = PLAIN) -> Answer:
        self.asked.append((event, wanted))
        await self.gate.wait()
        self.finished += 1
        if self.raises is not None:
            raise self.raises
        return Answer("scored", CloudEvent(f"verdict-{event.id}", "/d", OUTLIER, event.data, event.time))


@asynccontextmanager
async def connected(served: Served) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection of its own, closed in the end; what waits on it waits ten seconds at most."""
    reader, writer = await asyncio.open_connection("127.0.0.1", served.server.port)
    try:
        async with asyncio.timeout(10):
            yield reader, writer
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def converse(served: Served, parts: Sequence[bytes], answers: int = 1) -> list[tuple[bytes, bytes]]:
    """The heads and bodies of so many answers on one connection."""
    told = []
    async with connected(served) as (reader, writer):
        for part in parts:
            writer.write(part)
            with suppress(ConnectionError):
                await writer.drain()
            await asyncio.sleep(0)
        for _ in range(answers):
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(line for line in head.split(b"\r\n") if line.startswith(b"content-length"))
            told.append((head, await reader.readexactly(int(length.split(b":")[1]))))
    return told


async def status_of(served: Served, *parts: bytes) -> int:
    """What a server answers to these bytes, sent one after another."""
    [(head, _)] = await converse(served, parts)
    return int(head.split(b" ")[1])


def posted(body: bytes = BODY, more: bytes = b"", path: bytes = b"/") -> bytes:
    """A request as it goes over the wire."""
    return b"POST %b HTTP/1.1\r\nhost: x\r\n%b%bcontent-length: %d\r\n\r\n%b" % (path, LINES, more, len(body), body)


@pytest.mark.parametrize(
    ("path", "status"),
    [("", 200), ("detectors/any", 200), ("detectors/nobody", 404), ("detectors/", 404), ("detectors/a/b", 404)],
)
async def test_events_are_for_the_default_detector_or_for_one_by_name(path: str, status: int) -> None:
    teller = Teller()
    async with serve_answering(teller) as served:
        url = served.url.parse(f"http://127.0.0.1:{served.server.port}/{path}")
        response = await served.client.send(b"POST", url, EVENT, BODY, timeout_s=10)
    assert (response.status, len(teller.asked)) == (status, status == 200)
    unknown = teller.metrics.registry.get_sample_value("wayside_detector_unknown_total")
    assert unknown == (path == "detectors/nobody")


@pytest.mark.parametrize("method", [b"GET", b"PUT", b"DELETE", b"OPTIONS"])
async def test_other_methods_are_for_whoever_stands_beside_the_route(method: bytes) -> None:
    async with serve_answering(Teller()) as served:
        assert (await served.client.send(method, served.url, [], timeout_s=5)).status == 404


async def test_a_reply_is_a_binary_cloudevent() -> None:
    async with serve_answering(Teller()) as served:
        response = await served.post(BODY, EVENT)
    assert (response.status, response.body) == (200, BODY)
    assert [response.header(name) for name in (b"ce-specversion", b"ce-id", b"ce-type")] == [
        b"1.0",
        b"verdict-1",
        OUTLIER.encode(),
    ]


class Away(WaysideError):
    """What a worker process that is lost raises."""


@pytest.mark.parametrize(
    ("raised", "status", "outcome", "retry_after"),
    [
        (MalformedEvent("ragged"), 400, "malformed", None),
        (QueueFull("full"), 429, "overloaded", b"1"),
        (OutOfMemory("no memory for 16 rows"), 503, "failed", b"1"),
        (Away("the worker is lost"), 503, "failed", b"1"),
        (ZeroDivisionError("a defect"), 500, "failed", None),
    ],
    ids=["malformed", "full", "memory", "away", "defect"],
)
async def test_what_cannot_be_judged_is_told_so(
    raised: Exception, status: int, outcome: str, retry_after: bytes | None
) -> None:
    async with serve_answering(Teller(raised)) as served:
        response = await served.post(BODY, EVENT)
        assert (response.status, response.header(b"retry-after"), served.count(outcome)) == (status, retry_after, 1)
    assert (str(raised) in response.body.decode()) == (status != 500)


@pytest.mark.parametrize(
    ("headers", "wanted"),
    [
        ([], PLAIN),
        ([(b"Alibi-Detect-Return-Instance-Score", b"true")], PLAIN),
        ([(b"Alibi-Detect-Return-Feature-Score", b"true")], Wanted(feature_scores=True)),
        ([(b"Alibi-Detect-Return-Feature-Score", b"false")], PLAIN),
        ([(b"Alibi-Detect-Outlier-Type", b"feature")], Wanted(outlier_type=OutlierType.FEATURE)),
        ([(b"Alibi-Detect-Outlier-Type", b"")], PLAIN),
        ([(b"Alibi-Detect-Outlier-Type", b"row")], None),
    ],
)
async def test_headers_of_adserver_ask_for_scores(headers: Headers, wanted: Wanted | None) -> None:
    teller = Teller()
    async with serve_answering(teller) as served:
        response = await served.post(BODY, [*EVENT, *headers])
    assert (response.status, [asked for _, asked in teller.asked]) == ((400, []) if wanted is None else (200, [wanted]))


@pytest.mark.parametrize(
    ("coding", "encode"),
    [
        (b"gzip", gzip.compress),
        (b"x-gzip", gzip.compress),
        (b"deflate", zlib.compress),
        (b"identity", bytes),
        (b"gzip, gzip", lambda body: gzip.compress(gzip.compress(body))),
    ],
)
@pytest.mark.parametrize("mode", ["binary", "structured"])
async def test_compressed_requests_are_read(coding: bytes, encode: Callable[[bytes], bytes], mode: str) -> None:
    teller, event = Teller(), request_event([[1.0]], "1")
    headers, body = encode_structured(event) if mode == "structured" else (EVENT, event.data)
    async with serve_answering(teller) as served:
        response = await served.post(encode(body), [*headers, (b"content-encoding", coding)])
    assert (response.status, json.loads(teller.asked[0][0].data)) == (200, {"instances": [[1.0]]})


@pytest.mark.parametrize(
    ("coding", "body", "status"),
    [
        (b"br", BODY, 415),
        (b"gzip, zstd", BODY, 415),
        (b"gzip", BODY, 400),
        (b"gzip", gzip.compress(BODY)[:-6], 400),
        (b"gzip", gzip.compress(bytes(1 << 20)), 400),
        (b"deflate", zlib.compress(bytes(1 << 20)), 400),
        (b"gzip," * 9, BODY, 400),
    ],
    ids=["brotli", "zstd", "no gzip", "cut off", "gzip bomb", "deflate bomb", "nine times"],
)
async def test_what_cannot_be_inflated_is_refused(coding: bytes, body: bytes, status: int) -> None:
    async with serve_answering(Teller(), RouteLimits(inflated_bytes=1 << 19)) as served:
        response = await served.post(body, [*EVENT, (b"content-encoding", coding)])
        assert (response.status, served.count("malformed")) == (status, 1)
        assert (await served.post(BODY, EVENT)).status == 200


CHUNKED = b"POST / HTTP/1.1\r\nhost: x\r\n%btransfer-encoding: chunked\r\n\r\n" % LINES


@pytest.mark.parametrize(
    "request_bytes",
    [posted(b"x" * 1001), CHUNKED + b"3e9\r\n" + b"x" * 1001 + b"\r\n0\r\n\r\n", posted(b"")[:-5] + b"1001\r\n\r\n"],
    ids=["announced", "chunked", "only announced"],
)
async def test_a_body_over_the_limit_is_a_413(request_bytes: bytes) -> None:
    async with serve_answering(Teller(), RouteLimits(body_bytes=1000)) as served:
        assert (await status_of(served, request_bytes), served.count("malformed")) == (413, 1)
        assert (await served.post(BODY, EVENT)).status == 200


async def test_a_body_of_ten_megabytes_is_read() -> None:
    teller, body = Teller(), b"[" + b"1," * (5 << 20) + b"1]"
    async with serve_answering(teller) as served:
        assert (await served.post(body, EVENT)).status == 200
    assert len(teller.asked[0][0].data) == len(body)


async def test_a_request_in_chunks_is_read_and_its_trailers_are_not() -> None:
    teller = Teller()
    chunked = CHUNKED + b"".join(b"1\r\n%c\r\n" % byte for byte in BODY) + b"0\r\nce-subject: later\r\n\r\n"
    async with serve_answering(teller) as served:
        assert await status_of(served, chunked) == 200
    assert (teller.asked[0][0].data, teller.asked[0][0].subject) == (BODY, None)


@pytest.mark.parametrize("limits", [RouteLimits(in_flight=1), RouteLimits(held_bytes=30)], ids=["requests", "bytes"])
async def test_more_than_can_be_in_hand_is_a_429_that_says_when(limits: RouteLimits) -> None:
    teller = Teller()
    teller.gate.clear()
    async with serve_answering(teller, limits) as served:
        first = asyncio.create_task(served.post(BODY, EVENT))
        await wait_until(lambda: teller.asked)
        refused = await served.post(BODY, EVENT)
        assert (refused.status, refused.header(b"retry-after"), served.count("overloaded")) == (429, b"1", 1)
        teller.gate.set()
        assert [(await first).status, (await served.post(BODY, EVENT)).status] == [200, 200]


H2C = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABk\r\n"
OFFERS = {
    "h2c": H2C,
    "websocket": b"Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n",
    "none": b"",
}


@pytest.mark.parametrize("offer", OFFERS.values(), ids=OFFERS)
@pytest.mark.parametrize("size", [1, 7, 1 << 20], ids=["byte by byte", "by sevens", "at once"])
async def test_the_body_of_a_request_that_offers_an_upgrade_is_kept(offer: bytes, size: int) -> None:
    """Every default Java client offers h2c with its first request, as do proxies of Knative's."""
    sent = posted(b'{"instances":[[1]]}', offer) + posted(b'{"instances":[[2]]}') + posted(b"3", offer)
    parts = [sent[start : start + size] for start in range(0, len(sent), size)]
    async with serve_answering(Teller()) as served:
        told = await converse(served, parts, 3)
    assert [body for _, body in told] == [b'{"instances":[[1]]}', b'{"instances":[[2]]}', b"3"]


async def test_an_offer_in_a_request_of_chunks_is_ignored_too() -> None:
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in BODY) + b"0\r\n\r\n"
    async with serve_answering(Teller()) as served:
        told = await converse(served, [CHUNKED.replace(b"host: x\r\n", b"host: x\r\n" + H2C), chunks])
    assert [body for _, body in told] == [BODY]


async def test_an_offer_does_not_keep_a_connection_that_is_to_be_closed() -> None:
    async with serve_answering(Teller()) as served:
        [(head, _)] = await converse(served, [posted(BODY, H2C.replace(b"Upgrade, ", b"close, Upgrade, "))])
    assert b"connection: close" in head


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"CONNECT example.com:80 HTTP/1.1\r\nhost: x\r\n\r\n", 405),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nhost: x\r\nlong: " + b"x" * 5000 + b"\r\n\r\n", 431),
        (b"POST / HTTP/1.1\r\nhost: x\r\nlong: " + b"x" * 5000, 431),
        (b"POST /" + b"x" * 5000, 431),
        (b"POST / HTTP/1.1\r\n" + b"a: b\r\n" * 300 + b"\r\n", 431),
    ],
    ids=["connect", "http2", "tls", "smuggled", "negative", "long", "long and cut", "long path", "many"],
)
async def test_what_is_no_request_of_ours_is_refused(sent: bytes, status: int) -> None:
    limits = ConnectionLimits(head_bytes=4096)
    async with serve_answering(Teller(), connections=limits) as served:
        assert await status_of(served, *[sent[start : start + 512] for start in range(0, len(sent), 512)]) == status
        assert (await served.post(BODY, EVENT)).status == 200


@pytest.mark.parametrize(
    ("sent", "answer"),
    [(b"", b""), (b"POST / HT", b"HTTP/1.1 408"), (posted(BODY)[:-1], b"")],
    ids=["silence", "head", "body"],
)
async def test_a_slow_request_ends_with_its_time(sent: bytes, answer: bytes) -> None:
    teller = Teller()
    async with serve_answering(teller, connections=ConnectionLimits(request_s=0.05)) as served:
        async with connected(served) as (reader, writer):
            writer.write(sent)
            assert (await reader.read())[: len(answer) or 1] == answer
        await wait_until(lambda: served.count("gone") == (len(sent) > 20))
    assert not teller.asked


async def test_connections_are_bounded() -> None:
    async with serve_answering(Teller(), connections=ConnectionLimits(connections=1)) as served:
        async with connected(served) as (_, writer):
            writer.write(b"POST / HTTP/1.1\r\n")
            assert await status_of(served, posted()) == 503
        assert await status_of(served, posted()) == 200


async def hang_up(served: Served, sent: bytes, until: Callable[[], object]) -> None:
    """Send, and close the connection once that has come to something."""
    async with connected(served) as (_, writer):
        writer.write(sent)
        await wait_until(until)


async def test_work_for_a_client_that_hangs_up_is_dropped_and_counted() -> None:
    teller = Teller()
    teller.gate.clear()
    async with serve_answering(teller) as served:
        await hang_up(served, posted(), lambda: teller.asked)
        await wait_until(lambda: served.count("gone") == 1)
        teller.gate.set()
        assert (await served.post(BODY, EVENT)).status == 200
        assert (len(teller.asked), teller.finished, served.count("scored")) == (2, 1, 1)


async def test_what_keeps_state_is_not_broken_off() -> None:
    teller = Teller(may_drop=False)
    teller.gate.clear()
    async with serve_answering(teller) as served:
        await hang_up(served, posted(), lambda: teller.asked)
        assert (await served.client.send(b"GET", served.url, [], timeout_s=5)).status == 404
        teller.gate.set()
        await wait_until(lambda: served.count("scored") == 1)
    assert sample(teller.metrics, "events_total", outcome="gone") == 0


async def test_a_body_that_is_never_completed_is_counted_as_gone() -> None:
    async with serve_answering(Teller()) as served:
        await hang_up(served, posted()[:-3], lambda: True)
        await wait_until(lambda: served.count("gone") == 1)


async def test_requests_in_hand_are_answered_while_the_server_stops() -> None:
    teller = Teller()
    teller.gate.clear()
    async with serve_answering(teller) as served:
        in_hand: Awaitable[Response] = asyncio.create_task(served.post(BODY, EVENT))
        await wait_until(lambda: teller.asked)
        stopping = asyncio.create_task(served.server.stop())
        await asyncio.sleep(0)
        teller.gate.set()
        await stopping
        assert (await in_hand).status == 200


ANNOUNCED = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n"


async def test_what_is_announced_is_not_held_before_it_comes() -> None:
    async with (
        serve_answering(Teller(), RouteLimits(body_bytes=1000, held_bytes=1000)) as served,
        connected(served) as (_, first),
        connected(served) as (_, second),
    ):
        for writer in (first, second):
            writer.write(ANNOUNCED)
        assert (await served.client.send(b"GET", served.url, [], timeout_s=5)).status == 404
        assert (await served.post(BODY, EVENT)).status == 200


async def test_a_large_structured_event_is_read_off_the_event_loop() -> None:
    data = b'{"x":[%b"a"],"instances":[[1]]}' % (b'"a",' * 2_500_000)
    attributes = b'"specversion":"1.0","id":"1","source":"s","type":"%b","time":"%b"' % (
        REQUEST.encode(),
        TIME.encode(),
    )
    headers = [(b"content-type", b"application/cloudevents+json")]
    async with serve_answering(Teller()) as served:
        with loop_turns() as turns:
            assert (await served.post(b'{%b,"data":%b}' % (attributes, data), headers)).status == 200
    assert turns.longest_s < MOST_S
