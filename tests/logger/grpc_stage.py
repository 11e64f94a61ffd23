"""A splice between a gRPC client and a gRPC server, all three real; and HTTP/2's bytes, written by hand.

Invariant: the writer of frames shares no code with the reader under test.
"""

import asyncio
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from hpack import Encoder

from wayside.eventing.clock import SystemClock
from wayside.eventing.event import CloudEvent
from wayside.eventing.vocabulary import ServiceKey
from wayside.logger.capture.recording import Recorder
from wayside.logger.counts import LoggerCounts
from wayside.logger.http2.observer import ConnectionObserver, Http2Counts
from wayside.logger.http2.splice import Splice, Splices, is_preface
from wayside.logger.settings import Capture, Identity, Upstream

sys.path.insert(0, str(Path(__file__).parents[1] / "eventing" / "payloads"))

from open_inference_messages import ModelInferRequest, ModelInferResponse  # found by the line above

HOST = "127.0.0.1"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
INFER = "/inference.GRPCInferenceService/ModelInfer"
CALL = [
    (":method", "POST"),
    (":scheme", "http"),
    (":path", INFER),
    (":authority", "model:9081"),
    ("content-type", "application/grpc"),
    ("te", "trailers"),
]
ANSWER = [(":status", "200"), ("content-type", "application/grpc")]
TRAILERS = [("grpc-status", "0"), ("grpc-message", "")]


# HTTP/2's bytes


def frame(kind: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3) + bytes((kind, flags)) + stream_id.to_bytes(4) + payload


def data(stream_id: int, payload: bytes, *, end: bool = False) -> bytes:
    return frame(0, int(end), stream_id, payload)


def reset(stream_id: int, error: int = 8) -> bytes:
    return frame(3, 0, stream_id, error.to_bytes(4))


def set_table(size: int) -> bytes:
    return frame(4, 0, 0, (1).to_bytes(2) + size.to_bytes(4))


ACK = frame(4, 1, 0)
SETTINGS = frame(4, 0, 0)


def message(payload: bytes, *, compressed: bool = False) -> bytes:
    return bytes((compressed,)) + len(payload).to_bytes(4) + payload


@dataclass
class Headers:
    """Writes the header blocks of one direction, with the state that HPACK keeps."""

    encoder: Encoder = field(default_factory=Encoder)

    def __call__(self, stream_id: int, fields: list[tuple[str, str]], *, end: bool = False) -> bytes:
        return frame(1, 4 | int(end), stream_id, self.encoder.encode(fields))


# what is recorded


@dataclass
class KeptEvents:
    """An outlet that keeps what it is offered."""

    events: list[CloudEvent] = field(default_factory=list)

    def offer(self, event: CloudEvent) -> None:
        self.events.append(event)

    def of(self, kind: str) -> list[CloudEvent]:
        return [event for event in self.events if event.type.endswith(kind)]

    async def wait_for(self, count: int) -> list[CloudEvent]:
        async with asyncio.timeout(10):
            while len(self.events) < count:
                await asyncio.sleep(0.002)
        return self.events


def recorder(kept: KeptEvents, capture: Capture | None = None) -> Recorder:
    identity = Identity("digits-pod", ServiceKey("default", "digits", "predictor", ""))
    return Recorder(capture or Capture(), identity, LoggerCounts(), kept, SystemClock())


# conversations

Steps = list[tuple[str, bytes]]
REST = [(":method", "POST"), (":scheme", "http"), (":path", "/v1/models/m:predict?key=s"), (":authority", "model")]
BOTH = [("request", b"asked"), ("response", b"told")]


def changed(fields: list[tuple[str, str]], **values: str) -> list[tuple[str, str]]:
    """Fields with other values; a name is written with `_` for `-`, and `path` for `:path`."""
    new = {(":path" if name == "path" else name.replace("_", "-")): value for name, value in values.items()}
    return [pair for pair in fields if pair[0] not in new] + list(new.items())


@dataclass
class Talk:
    """A conversation as its bytes, one step after another; HPACK's state goes on in both directions."""

    steps: Steps = field(default_factory=lambda: [("client", PREFACE + SETTINGS), ("server", SETTINGS)])
    asks: Headers = field(default_factory=Headers)
    answers: Headers = field(default_factory=Headers)

    def client(self, *pieces: bytes) -> "Talk":
        self.steps.append(("client", b"".join(pieces)))
        return self

    def server(self, *pieces: bytes) -> "Talk":
        self.steps.append(("server", b"".join(pieces)))
        return self

    def infers(self, stream_id: int, *bodies: bytes, **fields: str) -> "Talk":
        """A call with a message a body."""
        head = self.asks(stream_id, changed(CALL, **fields))
        return self.client(head, *(data(stream_id, message(body)) for body in bodies), data(stream_id, b"", end=True))

    def answered(self, stream_id: int, *bodies: bytes) -> "Talk":
        head = self.answers(stream_id, ANSWER)
        told = [data(stream_id, message(body)) for body in bodies]
        return self.server(head, *told, self.answers(stream_id, TRAILERS, end=True))


@dataclass
class Seen:
    """What an observer recorded."""

    kept: KeptEvents = field(default_factory=KeptEvents)
    counts: Http2Counts = field(default_factory=Http2Counts)
    capture: Capture = field(default_factory=Capture)

    def __post_init__(self) -> None:
        self.recorder = recorder(self.kept, self.capture)
        self.observer = ConnectionObserver(self.recorder, self.counts)

    def follow(self, steps: Steps) -> "Seen":
        for side, sent in steps:
            (self.observer.client_sent if side == "client" else self.observer.server_sent)(sent)
        return self

    def closed(self) -> "Seen":
        self.observer.closed()
        assert self.recorder.budget.used_bytes == 0
        return self

    @property
    def bodies(self) -> list[tuple[str, bytes]]:
        return [(event.type.rsplit(".")[-1], event.data) for event in self.kept.events]

    @property
    def lost(self) -> dict[tuple[str, str], int]:
        return dict(self.recorder.counts.dropped)

    def is_balanced(self) -> bool:
        counts = self.recorder.counts
        return sum(counts.captured.values()) == len(self.kept.events) + sum(counts.dropped.values())


def seen(talk: Talk, capture: Capture | None = None) -> Seen:
    return Seen(capture=capture or Capture()).follow(talk.steps).closed()


def interleaved() -> Talk:
    talk = Talk()
    heads = [talk.asks(stream_id, CALL) for stream_id in (1, 3)]
    ask = [message(b"asked"), message(b"other")]
    talk.client(*heads, data(1, ask[0][:3]), data(3, ask[1][:7]), data(1, ask[0][3:], end=True))
    talk.client(data(3, ask[1][7:], end=True))
    heads = [talk.answers(stream_id, ANSWER) for stream_id in (3, 1)]
    talk.server(*heads, data(1, message(b"to1"), end=False), data(3, message(b"to3")))
    return talk.server(talk.answers(1, TRAILERS, end=True), talk.answers(3, TRAILERS, end=True))


WHOLE: Steps = interleaved().infers(11, b"more" * 500).answered(11, b"much").steps


# the splice


class _Door(asyncio.Protocol):
    """Reads a client's first bytes, and hands it over."""

    def __init__(self, splices: Splices) -> None:
        self._splices = splices
        self._read = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._read += data
        known = is_preface(self._read)
        if known:
            self._splices.adopt(self._transport, self._read)
        elif known is False:
            self._transport.abort()


@dataclass
class SpliceStage:
    """A splice that listens on `port`, and what it recorded."""

    port: int
    kept: KeptEvents
    recorder: Recorder
    splices: Splices

    @property
    def splice(self) -> Splice:
        """The one connection that is open."""
        (splice,) = self.splices.peers
        assert isinstance(splice, Splice)
        return splice

    async def wait_closed(self) -> None:
        async with asyncio.timeout(10):
            while self.splices.peers:
                await asyncio.sleep(0.002)


@asynccontextmanager
async def spliced(model_port: int, capture: Capture | None = None) -> AsyncIterator[SpliceStage]:
    """A splice before whatever listens on a port."""
    kept = KeptEvents()
    made = recorder(kept, capture)
    splices = Splices(Upstream(HOST, model_port, connect_timeout_s=2.0), made, set())
    server = await asyncio.get_running_loop().create_server(lambda: _Door(splices), HOST, 0)
    stage = SpliceStage(server.sockets[0].getsockname()[1], kept, made, splices)
    try:
        yield stage
    finally:
        server.close()
        for peer in list(splices.peers):
            peer.break_off()
        await stage.wait_closed()


# gRPC


def infer_request(rows: int = 2, **texts: str) -> bytes:
    """A `ModelInferRequest` of rows of four FP32, their values raw."""
    tensor = {"name": "x", "datatype": "FP32", "shape": [rows, 4]}
    request = ModelInferRequest(model_name="digits", inputs=[tensor], raw_input_contents=[bytes(16 * rows)], **texts)
    return cast("bytes", request.SerializeToString())


def infer_response(rows: int = 2) -> bytes:
    tensor = {"name": "y", "datatype": "FP32", "shape": [rows, 4]}
    response = ModelInferResponse(model_name="digits", outputs=[tensor], raw_output_contents=[bytes(16 * rows)])
    return cast("bytes", response.SerializeToString())


class Model:
    """Answers as the request's id says: `slow` waits until the caller has gone. The streams count and echo."""

    def infer(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        asked = ModelInferRequest.FromString(request)
        if asked.id == "missing":
            context.abort(grpc.StatusCode.NOT_FOUND, "no such model")
        if asked.id == "slow":
            gone = threading.Event()
            context.add_callback(gone.set)
            gone.wait(10)
        return infer_response(asked.inputs[0].shape[0])

    def count(self, request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        return (b"%d" % number for number in range(int(request)))

    def add_up(self, requests: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
        return b"%d" % sum(len(request) for request in requests)

    def echo(self, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        yield from requests


def _handlers(model: Model) -> dict[str, grpc.RpcMethodHandler]:
    return {
        "ModelInfer": grpc.unary_unary_rpc_method_handler(model.infer),
        "Count": grpc.unary_stream_rpc_method_handler(model.count),
        "AddUp": grpc.stream_unary_rpc_method_handler(model.add_up),
        "ModelStreamInfer": grpc.stream_stream_rpc_method_handler(model.echo),
    }


@dataclass
class GrpcStage(SpliceStage):
    """The same with a client of gRPC, whose calls are made in threads of their own."""

    channel: grpc.Channel = field(kw_only=True)

    def method(self, arity: str, name: str) -> Callable[..., Any]:
        made = getattr(self.channel, arity)(f"/inference.GRPCInferenceService/{name}")
        return cast("Callable[..., Any]", made)

    async def infer(self, request: bytes, **options: Any) -> bytes:
        call = self.method("unary_unary", "ModelInfer")
        return cast("bytes", await asyncio.to_thread(call, request, timeout=10, **options))


@asynccontextmanager
async def grpc_model(**server_options: Any) -> AsyncIterator[int]:
    """A gRPC server with the model, and gRPC's own health service; its port."""
    server = grpc.server(ThreadPoolExecutor(16), options=_UNBOUNDED, **server_options)
    handler = grpc.method_handlers_generic_handler("inference.GRPCInferenceService", _handlers(Model()))
    server.add_generic_rpc_handlers((handler,))
    statuses = health.HealthServicer()
    statuses.set("", health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(statuses, server)
    port = server.add_insecure_port(f"{HOST}:0")
    server.start()
    try:
        yield port
    finally:
        await asyncio.to_thread(server.stop(None).wait)


_UNBOUNDED = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))


@asynccontextmanager
async def grpc_spliced(
    capture: Capture | None = None, *, channel_options: tuple[tuple[str, Any], ...] = (), **server_options: Any
) -> AsyncIterator[GrpcStage]:
    """Client, splice and server of gRPC."""
    async with grpc_model(**server_options) as model_port, spliced(model_port, capture) as made:
        options = (*_UNBOUNDED, ("grpc.use_local_subchannel_pool", 1), *channel_options)
        with grpc.insecure_channel(f"{HOST}:{made.port}", options) as channel:
            yield GrpcStage(made.port, made.kept, made.recorder, made.splices, channel=channel)
