"""The logger's peers: nginx as model and as sink, and sinks that misbehave.

nginx answers a request once it has read its whole body (the `mirror` directive reads it; `return` alone would not), and
its own counters say what came, at no cost a request.
Source: nginx.org's ngx_http_mirror_module and ngx_http_stub_status_module.
Invariant: what a `Sink` counts are the requests that reached it, less its own questions.
"""

import os
import re
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

HOST = "127.0.0.1"
_PARTS = ("logger", "admin", "sink", "tls_sink", "status", "slow", "hanging", "dead")
PORTS = len(_PARTS) + 4  # of which the model may have four
_INLINE_BYTES = 2000  # a word of nginx's configuration is at most 4096
_COUNTERS = re.compile(r"\n *(\d+) +(\d+) +(\d+) *\n")


@dataclass(frozen=True, slots=True)
class Ports:
    """Where everybody listens: below the ports that the kernel lends to clients, so that none is taken by chance."""

    base: int

    def of(self, name: str) -> int:
        """The port of a part by its name."""
        return self.base + _PARTS.index(name)

    def model(self, place: int) -> int:
        """The port on which the model answers with the body at that place of its list."""
        return self.base + len(_PARTS) + place

    def check_free(self) -> None:
        """Raises `SystemExit` where somebody has one of them: what answered there would be measured."""
        for port in range(self.base, self.base + PORTS):
            try:
                socket.create_server((HOST, port)).close()
            except OSError as error:
                raise SystemExit(f"bench: port {port}: {error.strerror}; --ports names others") from error


def parse_status(text: str) -> tuple[int, int]:
    """Connections accepted and requests begun, of a stub_status page; raises `ValueError`."""
    if (found := _COUNTERS.search(text)) is None:
        raise ValueError(f"not a page of nginx's stub_status: {text[:200]!r}")
    return int(found[1]), int(found[3])


class Sink:
    """nginx's counters behind the status port, from now on."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._questions = 0
        self._before = (0, 0)
        self._before = self.counts()
        self._questions = 0

    def counts(self) -> tuple[int, int]:
        """Connections and requests since this object was made."""
        connection = HTTPConnection(HOST, self._port, timeout=10)
        try:
            connection.request("GET", "/")
            accepted, requests = parse_status(connection.getresponse().read().decode())
        finally:
            connection.close()
        self._questions += 1
        return accepted - self._before[0] - self._questions, requests - self._before[1] - self._questions


def model_servers(ports: Ports, answers: Sequence[bytes], folder: Path) -> str:
    """A server for each answer. Short ones stand in the configuration, long ones in a file that is kept open."""
    return "".join(_model_server(ports.model(place), answer, folder) for place, answer in enumerate(answers))


def _model_server(port: int, answer: bytes, folder: Path) -> str:
    if len(answer) <= _INLINE_BYTES:
        return _server(f"{HOST}:{port}", "200 @answer", f"location @answer {{ return 200 '{answer.decode()}'; }}")
    (folder / f"answer-{port}").write_bytes(answer)
    place = f"location = /answer-{port} {{ internal; root {folder}; }}"
    return _server(f"{HOST}:{port}", f"200 /answer-{port}", place)


def sink_servers(ports: Ports, folder: Path) -> str:
    """The same sink over http and https, and its counters."""
    tls = f"ssl_certificate {folder}/server.crt; ssl_certificate_key {folder}/server.key;"
    accept = "location @accept { return 202; }"
    return (
        _server(f"{HOST}:{ports.of('sink')}", "202 @accept", accept)
        + _server(f"{HOST}:{ports.of('tls_sink')} ssl", "202 @accept", f"{tls} {accept}")
        + f"server {{ listen {HOST}:{ports.of('status')}; location / {{ stub_status; }} }}\n"
    )


def _server(listen: str, answer: str, place: str) -> str:
    """A server that reads a request's body, finds no such file, and answers so."""
    read = "mirror /read; error_page 404 405 =" + answer + "; root /nonexistent;"
    return (
        f"server {{ listen {listen}; location / {{ {read} }} location = /read {{ internal; return 204; }} {place} }}\n"
    )


def configuration(servers: str, folder: Path, name: str) -> str:
    """nginx's whole configuration: one worker, everything below `folder`, connections kept for as long as it runs."""
    temporary = " ".join(
        f"{part}_temp_path {folder}/{name}-{part};" for part in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    user = "user root;" if os.geteuid() == 0 else ""
    return f"""
daemon off; worker_processes 1; {user} pid {folder}/{name}.pid; error_log {folder}/{name}.log crit;
events {{ worker_connections 16384; multi_accept on; }}
http {{
  access_log off; log_not_found off; {temporary}
  keepalive_requests 1000000000; keepalive_timeout 600; client_max_body_size 0; client_body_buffer_size 256k;
  sendfile on; open_file_cache max=100; open_file_cache_valid 1h; open_file_cache_errors on;
  default_type application/json;
{servers}}}
"""


@contextmanager
def nginx(pinned: Sequence[str], servers: str, folder: Path, name: str) -> Iterator[None]:
    """An nginx for as long as the block lasts; raises `SystemExit` with its log where it does not start."""
    file = folder / f"{name}.conf"
    file.write_text(configuration(servers, folder, name))
    log = folder / f"{name}.log"
    port = int(re.findall(rf"listen {HOST}:(\d+)", servers)[-1])
    with subprocess.Popen((*pinned, "nginx", "-e", str(log), "-c", str(file))) as running:
        try:
            wait_listening(port, running, log)
            yield
        finally:
            running.terminate()


@contextmanager
def bad_sink(command: Sequence[str], port: int) -> Iterator[None]:
    """A sink of logger_sinks.py for as long as the block lasts."""
    with subprocess.Popen((*command, str(port))) as running:
        try:
            wait_listening(port, running, None)
            yield
        finally:
            running.terminate()


def wait_listening(port: int, running: subprocess.Popen[bytes], log: Path | None) -> None:
    """Return once somebody listens on the port; raises `SystemExit` where the process ends, or after 10 s."""
    for _ in range(100):
        if running.poll() is not None:
            break
        with suppress(OSError), socket.create_connection((HOST, port), timeout=1):
            return
        time.sleep(0.1)
    said = log.read_text() if log is not None and log.exists() else ""
    raise SystemExit(f"bench: {running.args!r} does not listen on {port} {said}")


def make_certificate(folder: Path) -> None:
    """`ca.crt`, and `server.crt` and `server.key` for 127.0.0.1 under it. Needs the openssl program."""
    extensions = folder / "extensions"
    extensions.write_text(f"subjectAltName=IP:{HOST}\nextendedKeyUsage=serverAuth\n")
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    authority = ("-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=bench CA", "-days", "2")
    _openssl(folder, "req", "-x509", *key, *authority, "-addext", "keyUsage=critical,keyCertSign,cRLSign")
    _openssl(folder, "req", *key, "-keyout", "server.key", "-out", "server.csr", "-subj", f"/CN={HOST}")
    signing = ("-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", extensions.name)
    _openssl(folder, "x509", "-req", "-in", "server.csr", "-out", "server.crt", *signing)


def _openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(("openssl", *arguments), cwd=folder, check=True, capture_output=True)
