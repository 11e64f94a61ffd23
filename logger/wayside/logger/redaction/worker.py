"""The second process: reads events, does the side work on each, and writes them back in their order.

Started as `python -m wayside.logger.redaction.worker` with one end of a socket pair as its standard input.
Invariant: an event is answered redacted or without its data, whatever happens to it here; the process ends when the
other end of the socket does, and nothing of an event is ever written to a log.
"""

import gc
import json
import os
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Final

from wayside.eventing.event import CloudEvent
from wayside.logger.redaction.compression import compressed
from wayside.logger.redaction.frames import PREFIX_BYTES, Frame, event_of, frame_of, lengths
from wayside.logger.redaction.memory import MemoryBounds, be_first_to_go, bound_this_process
from wayside.logger.redaction.redactor import DEFAULT_LIMITS, Redactor, bare
from wayside.logger.settings import Redacted, RedactionRule, SideWork, Target

_NICENESS: Final = 10
_GC_THRESHOLD: Final = 1_000_000  # documents have no cycles, and the collector would walk them all the same
_READY: Final = Frame(b"{}", b"")

Work = Callable[[CloudEvent], CloudEvent]


def configuration(side_work: SideWork, key: bytes, memory: MemoryBounds) -> Frame:
    """The first frame that the process is sent: what it is to do within which bounds, and the key of its hashes."""
    rules = [[rule.target, rule.name, rule.left] for rule in side_work.rules]
    told = {"rules": rules, "compress": side_work.compress, "memory": memory}
    return Frame(json.dumps(told).encode(), key)


def work_of(frame: Frame) -> Work:
    """What a first frame asks for. This process is bound from here on."""
    told = json.loads(frame.head)
    memory = MemoryBounds(*told["memory"])
    bound_this_process(memory.process_bytes)
    rules = [RedactionRule(Target(target), name, Redacted(left)) for target, name, left in told["rules"]]
    limits = replace(DEFAULT_LIMITS, inflated_bytes=memory.inflated_bytes)
    redactor = Redactor(rules, frame.data, limits) if rules else None
    compresses = bool(told["compress"])

    def work(event: CloudEvent) -> CloudEvent:
        done = event if redactor is None else _redacted(redactor, event)
        return compressed(done) if compresses else done

    return work


def _redacted(redactor: Redactor, event: CloudEvent) -> CloudEvent:
    with suppress(Exception):  # a process's edge: a fault in redaction, or no memory for a document, must show no value
        return redactor.redact(event)
    return bare(event)  # only here is the memory of what failed free again


def serve(connection: socket.socket) -> None:
    """Answer events until the other end closes; the first frame is answered once the process is ready."""
    first = _receive(connection)
    if first is None:
        return
    work = work_of(first)
    _send(connection, _READY)
    while (frame := _receive(connection)) is not None:
        _send(connection, frame_of(work(event_of(frame))))


def _receive(connection: socket.socket) -> Frame | None:
    prefix = _exactly(connection, PREFIX_BYTES)
    if not prefix:
        return None
    head_bytes, data_bytes = lengths(prefix)
    frame = Frame(_exactly(connection, head_bytes), _exactly(connection, data_bytes))
    if (len(frame.head), len(frame.data)) != (head_bytes, data_bytes):
        raise ConnectionError("the logger went away within a frame")
    return frame


def _exactly(connection: socket.socket, size: int) -> bytes:
    """So many bytes; none where the other end has closed before the first of them."""
    buffer = bytearray(size)
    view, filled = memoryview(buffer), 0
    while filled < size:
        count = connection.recv_into(view[filled:])
        if not count:
            if filled:
                raise ConnectionError("the logger went away within a frame")
            return b""
        filled += count
    return bytes(buffer)


def _send(connection: socket.socket, frame: Frame) -> None:
    connection.sendall(frame.prefix + frame.head)
    connection.sendall(frame.data)


def _settle_down() -> None:
    """Work only when the serving path does not, be ended before it, and otherwise by the logger itself alone."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(_NICENESS)
    be_first_to_go()
    gc.set_threshold(_GC_THRESHOLD)


def main() -> None:
    _settle_down()
    try:
        with socket.socket(fileno=0) as connection:
            serve(connection)
    except ConnectionError:  # the logger went away
        return
    except Exception as exc:  # a process's edge: a traceback could quote a value
        sys.exit(f"side work ended by {type(exc).__name__}")


if __name__ == "__main__":
    main()
