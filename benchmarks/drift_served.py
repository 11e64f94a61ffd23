"""Drift detectors behind HTTP: ours with its journal and its outbox, and adserver's with its batch in memory.

Invariant: both are sent the same rows over as many connections; ours answers 202 only once an event is on disk, and the
verdicts that it posts are counted by a server of our own.
"""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from detectors_load import CONNECTIONS, Bodies
from detectors_programs import Server, adserver
from logger_load import Load, parse_wrk

_SCRIPT = Path(__file__).with_name("drift_load.lua")


@dataclass(slots=True)
class Verdicts:
    """How many events were posted here."""

    port: int
    count: int = 0


@contextmanager
def counting() -> Iterator[Verdicts]:
    """A server that takes every event and counts it."""
    counted = Verdicts(0)
    lock = threading.Lock()

    class Taking(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            with lock:
                counted.count += 1
            self.send_response(202)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Taking)
    counted.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield counted
    finally:
        server.shutdown()
        thread.join()


def ours(artifact: Path, folder: Path, ports: tuple[int, int], sink_port: int) -> Server:
    """`wayside detect` with a journal in `folder`."""
    where = ("--port", str(ports[0]), "--admin-port", str(ports[1]), "--data", str(folder))
    sink = ("--sink-url", f"http://127.0.0.1:{sink_port}/")
    command = (sys.executable, "-m", "wayside.detectors", "--artifact", str(artifact), *where, *sink)
    return Server(command, ports[0], ports[1], "/readyz", environ={"WAYSIDE_LOG_LEVEL": "WARNING"})


def theirs(checkout: Path, saved: Path, folder: Path, port: int) -> Server:
    """adserver's DriftDetector with its batch of 1 000 rows."""
    server = adserver(checkout, saved, folder, port)
    told = ["io.seldon.serving.inference.drift" if word.endswith(".outlier") else word for word in server.command]
    at = told.index("OutlierDetector")
    return replace(server, command=(*told[:at], "DriftDetector", "--drift_batch_size", "1000"))


def post_in_time(port: int, bodies: Bodies, seconds: float, run: int, services: int) -> Load:
    """Post for so long with event times that go on, to so many services in turn."""
    wrk = ("wrk", "-t1", f"-c{CONNECTIONS}", f"-d{max(1, round(seconds))}s", "--timeout", "60s", "--latency")
    words = ("-s", str(_SCRIPT), f"http://127.0.0.1:{port}", "--", str(bodies.file), str(run), str(services))
    load = parse_wrk(subprocess.run((*wrk, *words), check=True, capture_output=True, text=True).stdout)
    if load.refused or load.broken:
        raise SystemExit(f"bench: {load.refused} events were refused, {load.broken} got no answer, of {load.requests}")
    return load


def windows_of(admin_port: int) -> dict[str, Any]:
    """The service's `/windows`."""
    connection = HTTPConnection("127.0.0.1", admin_port, timeout=10)
    try:
        connection.request("GET", "/windows")
        found: dict[str, Any] = json.loads(connection.getresponse().read())
        return found
    finally:
        connection.close()
