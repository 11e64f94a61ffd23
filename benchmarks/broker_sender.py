"""Posts events as broker_load.lua does, where there is no wrk: PORT SECONDS CONNECTIONS RUN BYTES.

Invariant: the last line that it prints is the JSON that the script of wrk prints.
"""

import asyncio
import itertools
import json
import signal
import sys
import time
from collections.abc import Iterator
from typing import cast

import uvloop

from wayside.eventing.event import CloudEvent
from wayside.eventing.http.message import head
from wayside.eventing.http_binding import encode_binary
from wayside.eventing.vocabulary import REQUEST, ServiceKey

_PLACE = "0" * 36


class Run:
    """What every connection shares: the requests, when to end, and what was seen."""

    def __init__(self, requests: Iterator[bytes], until_s: float) -> None:
        self.requests = requests
        self.until_s = until_s
        self.latencies_s: list[float] = []
        self.refused = 0

    def end(self) -> None:
        """Send nothing more."""
        self.until_s = 0.0


class Sender(asyncio.Protocol):
    """One connection in a closed loop: the next event goes out when the last one's answer is in."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self.ended = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are none by class
        self._send()

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter()
        self._run.refused += not data.startswith(b"HTTP/1.1 202")
        self._run.latencies_s.append(now - self._sent_s)
        if now < self._run.until_s:
            self._send()
        else:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended.set_result(None)

    def _send(self) -> None:
        self._sent_s = time.perf_counter()
        self._transport.write(next(self._run.requests))


def requests(run: str, data_bytes: int) -> Iterator[bytes]:
    """The bytes of one event after another, each with an id of its own, at little cost."""
    extensions = ServiceKey("default", "income", "predictor", "default").extensions()
    data = b'"' + b"x" * (data_bytes - 2) + b'"'
    event = CloudEvent(_PLACE, "http://localhost:9081/", REQUEST, data, None, "application/json", extensions=extensions)
    headers, body = encode_binary(event)
    framing = [(b"host", b"bench"), (b"content-length", b"%d" % len(body))]
    before, _, after = head(b"POST /default/default HTTP/1.1\r\n", framing + headers).partition(_PLACE.encode())
    for number in itertools.count():
        yield before + f"{run}-{number:023d}".encode() + after + body


async def send(port: int, seconds: float, connections: int, run_name: str, data_bytes: int) -> dict[str, float]:
    """Post for so long; what was seen."""
    loop, began_s = asyncio.get_running_loop(), time.perf_counter()
    run = Run(requests(run_name, data_bytes), began_s + seconds)
    loop.add_signal_handler(signal.SIGINT, run.end)
    senders = [(await loop.create_connection(lambda: Sender(run), "127.0.0.1", port))[1] for _ in range(connections)]
    await asyncio.gather(*(one.ended for one in senders))
    ordered_us = [round(latency_s * 1e6) for latency_s in sorted(run.latencies_s)]
    quantiles = {f"p{share}_us": ordered_us[len(ordered_us) * share // 100] for share in (50, 99)}
    elapsed_us = round((time.perf_counter() - began_s) * 1e6)
    return {"requests": len(ordered_us), "elapsed_us": elapsed_us, **quantiles, "refused": run.refused, "broken": 0}


if __name__ == "__main__":
    port, seconds, connections, run_name, data_bytes = sys.argv[1:]
    print(json.dumps(uvloop.run(send(int(port), float(seconds), int(connections), run_name, int(data_bytes)))))
