"""A web server for artifacts: real HTTP on loopback, its files and faults as a test says.

Invariant: every request is kept; a path without a fault answers with its file, or 404.
"""

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

HOST = "127.0.0.1"
Fault = Callable[["Exchange"], None]


@dataclass
class Site:
    """`files` by path; `faults`, by path, answer in their place, `passing` of them only so many times."""

    files: dict[str, bytes] = field(default_factory=dict)
    faults: dict[str, Fault] = field(default_factory=dict)
    passing: dict[str, int] = field(default_factory=dict)
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    port: int = 0
    done: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    @property
    def paths(self) -> list[str]:
        return [path for path, _ in self.requests]

    def fault_of(self, path: str) -> Fault | None:
        left = self.passing.get(path)
        if left is None:
            return self.faults.get(path)
        self.passing[path] = left - 1
        return self.faults[path] if left > 0 else None


class Exchange(BaseHTTPRequestHandler):
    """One request and its answer."""

    protocol_version = "HTTP/1.1"
    site: Site

    def do_GET(self) -> None:
        self.site.requests.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
        path = unquote(urlsplit(self.path).path)
        fault = self.site.fault_of(path)
        if fault is not None:
            fault(self)
        elif path in self.site.files:
            self.answer_file(self.site.files[path])
        else:
            self.answer(404, b"<Error><Code>NoSuchKey</Code><Message>there is none</Message></Error>")

    def answer_file(self, body: bytes) -> None:
        """All of it, or from the byte that is asked for on."""
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)?", self.headers.get("Range", ""))
        if asked is None:
            self.answer(200, body)
            return
        first = int(asked[1])
        self.answer(206, body[first:], **{"Content-Range": f"bytes {first}-{len(body) - 1}/{len(body)}"})

    def answer(self, status: int, body: bytes = b"", announced: int | None = None, **headers: str) -> None:
        """`announced` is the length that the header says, where it is not the body's."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if announced is None else announced))
        self.send_header("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
        self.send_header("ETag", '"1"')
        self.end_headers()
        self.wfile.write(body)
        if announced is not None:
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """Tests read `requests`."""


def status(code: int) -> Fault:
    return lambda exchange: exchange.answer(code, b"no")


def truncated(body: bytes) -> Fault:
    """All but the end of what is announced."""
    return lambda exchange: exchange.answer(200, body[: len(body) // 2], len(body))


def endless(exchange: Exchange) -> None:
    """A body without a length that goes on until the reader has gone."""
    exchange.send_response(200)
    exchange.send_header("Connection", "close")
    exchange.end_headers()
    try:
        while not exchange.site.done.is_set():
            exchange.wfile.write(b" " * 65536)
    except OSError:
        exchange.close_connection = True


def silent(exchange: Exchange) -> None:
    """No answer until the test is over."""
    exchange.site.done.wait(30)
    exchange.close_connection = True


def dribbling(exchange: Exchange) -> None:
    """A byte now and then, never so late that a single read would end."""
    exchange.send_response(200)
    exchange.send_header("Content-Length", "1000000")
    exchange.end_headers()
    try:
        while not exchange.site.done.wait(0.02):
            exchange.wfile.write(b" ")
    except OSError:
        pass
    exchange.close_connection = True


def dribbling_head(exchange: Exchange) -> None:
    """A header without an end, a byte now and then."""
    _repeat(exchange, b"HTTP/1.1 200 OK\r\nX-Long: ", b"a", 0.02)


def continuing(exchange: Exchange) -> None:
    """Interim answers and never a final one."""
    _repeat(exchange, b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 10, 0.005)


def unannounced(exchange: Exchange) -> None:
    """A body whose end nobody knows, a byte now and then."""
    _repeat(exchange, b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", b" ", 0.02)


def _repeat(exchange: Exchange, first: bytes, part: bytes, pause_s: float) -> None:
    try:
        exchange.wfile.write(first)
        while not exchange.site.done.wait(pause_s):
            exchange.wfile.write(part)
    except OSError:
        pass
    exchange.close_connection = True


def redirect(to: str) -> Fault:
    return lambda exchange: exchange.answer(302, Location=to)


@contextmanager
def artifact_site() -> Iterator[Site]:
    """A site on a port of its own."""
    site = Site()
    server = ThreadingHTTPServer((HOST, 0), type("Bound", (Exchange,), {"site": site}))
    server.daemon_threads = True
    site.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield site
    finally:
        site.done.set()
        server.shutdown()
        server.server_close()
        thread.join()
