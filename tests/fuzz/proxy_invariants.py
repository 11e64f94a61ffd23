"""What must hold for the proxy whatever clients and a model server send: shared by hypothesis and the fuzzer.

A play is pieces between bytes 0xFF: a letter says who does what, the rest is what is sent. Bytes from 0x80 on are
marks: a client's become its number's, a model's those of the request it answers; so a stream shows whose bytes are
in it.
"""

import asyncio
import socket
from collections import Counter
from collections.abc import Callable

import h11

from wayside.eventing.clock import SystemClock
from wayside.eventing.event import CloudEvent
from wayside.eventing.vocabulary import ServiceKey
from wayside.logger.capture.recording import Recorder
from wayside.logger.counts import KINDS, LoggerCounts
from wayside.logger.http2.splice import Splices
from wayside.logger.proxy.connection import ClientConnection
from wayside.logger.proxy.exchange import Proxy
from wayside.logger.proxy.probes import Prober, ProbeTarget
from wayside.logger.proxy.upstream import UpstreamConnection, UpstreamDown, UpstreamPool
from wayside.logger.settings import Capture, Identity, Upstream

SEPARATOR = b"\xff"
_MARKS, _CLIENT_MARK, _ANSWER_MARK, _ANSWERS, _CLIENTS = 0x80, 0xE0, 0x80, 0x60, 0x1F
_OPS = 200
_UPSTREAM = Upstream("model", 8080)
_GOOD = b"POST /good HTTP/1.1\r\nhost: m\r\ncontent-length: 4\r\n\r\ngood"


def marked(data: bytes, mark: int) -> bytes:
    return bytes(byte if byte < _MARKS else mark for byte in data)


def marks(data: bytes) -> list[int]:
    return [byte for byte in data if byte >= _MARKS]


class MemoryTransport(asyncio.Transport):
    """A transport whose other end is the play: it delivers nothing while it is paused, as the loops' do."""

    def __init__(self, protocol: asyncio.Protocol, end: socket.socket, address: str, sent: Callable[[bytes], None]):
        super().__init__({"socket": end, "peername": (address, 1)})
        self._protocol = protocol
        self._sent = sent
        self._loop = asyncio.get_running_loop()
        self._waiting: list[bytes] = []
        self._paused = self._closing = self._slow = False
        self.eof_written = self.lost = False
        protocol.connection_made(self)

    def arrive(self, data: bytes) -> None:
        if data:
            self._waiting.append(data)
            self.deliver()

    def deliver(self) -> None:
        while self._waiting and not (self._paused or self._closing):
            self._protocol.data_received(self._waiting.pop(0))

    def end(self) -> None:
        if not self._closing and not self._protocol.eof_received():
            self.close()

    def lose(self, exc: Exception | None) -> None:
        if not self.lost:
            self._closing = self.lost = True
            self._protocol.connection_lost(exc)

    def slow(self, slow: bool) -> None:
        self._slow = slow
        if not self._closing:
            (self._protocol.pause_writing if slow else self._protocol.resume_writing)()

    # asyncio.Transport

    def write(self, data: bytes) -> None:
        assert data
        assert not self.eof_written, "written behind its own end"
        if not self._closing:
            self._sent(data)

    def writelines(self, pieces: list[bytes]) -> None:
        self.write(b"".join(pieces))

    def write_eof(self) -> None:
        self.eof_written = True

    def get_write_buffer_size(self) -> int:
        return int(self._slow)

    def is_closing(self) -> bool:
        return self._closing

    def pause_reading(self) -> None:
        self._paused = True

    def resume_reading(self) -> None:
        self._paused = False
        self._loop.call_soon(self.deliver)

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            self._loop.call_soon(self.lose, None)

    abort = close


class Model:
    """One connection of the model server: reads what the proxy writes with a parser of another make."""

    def __init__(self, stage: "Stage") -> None:
        self._stage = stage
        self._judge = h11.Connection(h11.SERVER)
        self._may_switch = self._raw = False
        self.owner = -1
        self.serial = -1
        self.said = True  # since the last request
        self.connection = UpstreamConnection()
        self.transport = MemoryTransport(self.connection, stage.end, "model", self._read)

    @property
    def waits(self) -> bool:
        return self.serial >= 0 and not self.transport.is_closing()

    def say(self, data: bytes) -> None:
        self.said = True
        self.transport.arrive(marked(data, _ANSWER_MARK + self.serial % _ANSWERS))

    def _read(self, data: bytes) -> None:
        if self._may_switch and b"\r\nx-forwarded-for: 10.0.0." not in data:
            self._raw = True
        if not self._raw:
            self._judge.receive_data(data)
            self._look()
        assert set(marks(data)) <= {_CLIENT_MARK + self.owner % _CLIENTS}, "bytes of another's"

    def _look(self) -> None:
        while isinstance(event := self._judge.next_event(), h11.Request | h11.Data | h11.EndOfMessage):
            if isinstance(event, h11.Request):
                self._begin(event)
            elif isinstance(event, h11.EndOfMessage):
                assert not self._judge.trailing_data[0], "more than the one request"
                self._judge = h11.Connection(h11.SERVER)
                return

    def _begin(self, request: h11.Request) -> None:
        assert self.said, "a request before the one in hand was answered"
        self.said = False
        self._may_switch = any(name == b"upgrade" for name, _ in request.headers)
        hops = [value for name, value in request.headers if name == b"x-forwarded-for"][-1]
        self.owner = int(hops.rpartition(b".")[2])
        self.serial = self._stage.served(self.owner)


class Visitor:
    """One client's connection."""

    def __init__(self, stage: "Stage", number: int) -> None:
        self._mark = _CLIENT_MARK + number % _CLIENTS
        self.heard = b""
        self.slow = False
        self.connection = ClientConnection(stage.proxy)
        self.transport = MemoryTransport(self.connection, stage.end, f"10.0.0.{number}", self._hear)

    def say(self, data: bytes) -> None:
        self.transport.arrive(marked(data, self._mark))

    def _hear(self, data: bytes) -> None:
        self.heard += data


class _Pool(UpstreamPool):
    def __init__(self, stage: "Stage") -> None:
        super().__init__(_UPSTREAM)
        self._stage = stage

    async def connect(self) -> UpstreamConnection:
        await asyncio.sleep(0)
        return self._stage.connected()


class _Prober(Prober):
    async def is_ready(self) -> bool:
        await asyncio.sleep(0)
        return True


class _Splices(Splices):
    def adopt(self, transport: asyncio.Transport, first_bytes: bytes) -> None:  # type: ignore[override]
        transport.abort()


class Stage:
    """A proxy without sockets, and what was seen of it."""

    def __init__(self, end: socket.socket) -> None:
        self.end = end
        self.down = False
        self.counts = LoggerCounts()
        self.events: list[CloudEvent] = []
        identity = Identity("pod", ServiceKey("ns", "service", "predictor", ""))
        capture = Capture(body_bytes=64, total_bytes=1 << 10)
        self.recorder = Recorder(capture, identity, self.counts, self, SystemClock())
        peers: set[object] = set()
        self.pool = _Pool(self)
        prober = _Prober(ProbeTarget.of("", _UPSTREAM))
        splices = _Splices(_UPSTREAM, None, peers)  # type: ignore[arg-type]
        self.proxy = Proxy(self.pool, prober, self.counts, self.recorder, splices, peers)  # type: ignore[arg-type]
        self.models: list[Model] = []
        self.visitors: list[Visitor] = []
        self._now: dict[bytes, Visitor] = {}
        self._owners: list[int] = []

    def offer(self, event: CloudEvent) -> None:
        self.events.append(event)

    def connected(self) -> UpstreamConnection:
        if self.down:
            raise UpstreamDown("the model server is down")
        self.models.append(Model(self))
        return self.models[-1].connection

    def served(self, owner: int) -> int:
        self._owners.append(owner)
        return len(self._owners) - 1

    def visitor(self, name: bytes) -> Visitor:
        """The client of that name; another one where its connection is over."""
        now = self._now.get(name)
        if now is None or now.transport.is_closing() or now.transport.eof_written:
            now = self._now[name] = Visitor(self, len(self.visitors) + 1)
            self.visitors.append(now)
        return now

    def act(self, op: bytes, data: bytes) -> None:
        """One piece of a play."""
        if op in b"ABab":
            visitor = self.visitor(op.upper())
            for piece in [data] if op.isupper() else [data[at : at + 1] for at in range(len(data))]:
                visitor.say(piece)
        elif op in b"EFLKST":
            self._trouble(op, self.visitor(b"A" if op in b"ELS" else b"B"))
        elif op in b"MNmCRU":
            self._answer(op, data)
        elif op == b"W":
            for peer in list(self.proxy.peers):
                peer.sweep(asyncio.get_running_loop().time() + len(data) * 50)
        elif op == b"D":
            self.down = not self.down

    def _trouble(self, op: bytes, visitor: Visitor) -> None:
        if op in b"EF":
            visitor.transport.end()
        elif op in b"LK":
            visitor.transport.lose(ConnectionResetError())
        else:
            visitor.slow = not visitor.slow
            visitor.transport.slow(visitor.slow)

    def _answer(self, op: bytes, data: bytes) -> None:
        waiting = [model for model in self.models if model.waits]
        if not waiting:
            return
        model = waiting[-1 if op == b"N" else 0]
        if op in b"MN":
            model.say(data)
        elif op == b"m":
            for at in range(len(data)):
                model.say(data[at : at + 1])
        elif op == b"U":
            model.transport.slow(bool(data))
        else:
            model.transport.lose(None if op == b"C" else ConnectionResetError())

    # what must hold

    def check_streams(self) -> None:
        for number, visitor in enumerate(self.visitors, 1):
            seen = marks(visitor.heard)
            mine = [serial for serial, owner in enumerate(self._owners) if owner == number]
            assert set(seen) <= {_ANSWER_MARK + serial % _ANSWERS for serial in mine}, "an answer of another's"
            if len(self._owners) < _ANSWERS:
                assert seen == sorted(seen), "answers out of order"
        for event in self.events:
            assert len(set(marks(event.data))) <= 1, "an event of two bodies"

    def check_ended(self) -> None:
        assert not self.proxy.peers
        assert all(not visitor.connection.busy for visitor in self.visitors)
        assert self.recorder.budget.used_bytes == 0, "copies are left"
        dropped: Counter[str] = Counter()
        for (kind, _), count in self.counts.dropped.items():
            dropped[kind] += count
        for kind in KINDS:
            made = sum(event.type.endswith(kind) for event in self.events)
            assert self.counts.captured[kind] == made + dropped[kind], "an event is neither made nor counted"


async def _turn() -> None:
    for _ in range(4):
        await asyncio.sleep(0)


async def _play(pieces: list[bytes], end: socket.socket) -> None:
    stage = Stage(end)
    faults: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
    for piece in pieces[:_OPS]:
        stage.act(piece[:1], piece[1:])
        await _turn()
    stage.check_streams()
    await _check_good(stage)
    for transport in [visitor.transport for visitor in stage.visitors]:
        transport.lose(None)
    stage.pool.close()
    await _turn()
    assert all(model.transport.is_closing() for model in stage.models), "a connection nobody owns is left open"
    stage.check_streams()
    stage.check_ended()
    assert not faults, faults


async def _check_good(stage: Stage) -> None:
    """Whatever was, a good request on a new connection gets its answer."""
    stage.down = False
    visitor = Visitor(stage, len(stage.visitors) + 1)
    stage.visitors.append(visitor)
    visitor.say(_GOOD)
    await _turn()
    mine = [model for model in stage.models if model.owner == len(stage.visitors) and model.waits]
    mine[-1].say(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfine")
    assert visitor.heard.endswith(b"\r\n\r\nfine"), visitor.heard


def check_play(play: bytes) -> None:
    """Play it, and look at everything that must hold."""
    end, other = socket.socketpair()
    with end, other, asyncio.Runner() as runner:
        runner.run(_play([piece for piece in play.split(SEPARATOR) if piece], end))
