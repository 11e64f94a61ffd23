"""Looking names up: a slow one stops nobody else, and a name leads to the address that answers."""

import asyncio
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from wayside.eventing.http.client import HttpClient, Unreachable
from wayside.eventing.http.message import Request, Response
from wayside.eventing.http.resolving import LOOKUP_LIMIT, Resolver, Unresolved, look_up
from wayside.eventing.http.server import HttpServer
from wayside.eventing.http.url import Url

_PATIENCE_S = 10.0
_HERE, _CLOSED = "127.0.0.1", "127.0.0.2"  # where servers listen, and where none does


class Names:
    """What each name leads to; a lookup of a name in `slow` waits until it may go on."""

    def __init__(self) -> None:
        self.leads_to: dict[str, Sequence[str] | Exception] = {}
        self.slow: dict[str, threading.Event] = {}
        self.asked: list[str] = []

    def hold(self, *names: str) -> None:
        self.slow.update((name, threading.Event()) for name in names)

    def look_up(self, host: str) -> Sequence[str]:
        self.asked.append(host)
        if host in self.slow:
            assert self.slow[host].wait(_PATIENCE_S)
        found = self.leads_to.get(host, [_HERE])
        if isinstance(found, Exception):
            raise found
        return found


@pytest.fixture
def names() -> Iterator[Names]:
    names = Names()
    yield names
    for gate in names.slow.values():
        gate.set()


@asynccontextmanager
async def _listening(address: str = _HERE, port: int = 0) -> AsyncIterator[int]:
    async def handler(request: Request) -> Response:
        return Response(200, [], address.encode())

    server = HttpServer(handler, address, port)
    await server.start()
    try:
        yield server.port
    finally:
        await server.stop(grace_s=0.1)


@asynccontextmanager
async def _client(names: Names, tls: ssl.SSLContext | None = None) -> AsyncIterator[HttpClient]:
    client = HttpClient(tls=tls, lookup=names.look_up)
    try:
        yield client
    finally:
        await client.close()


async def _get(
    client: HttpClient, host: str, port: int, *, scheme: str = "http", timeout_s: float = _PATIENCE_S
) -> bytes:
    return (await client.send(b"GET", Url.parse(f"{scheme}://{host}:{port}/"), [], timeout_s=timeout_s)).body


def _soon() -> float:
    return asyncio.get_running_loop().time() + _PATIENCE_S


async def test_a_name_that_hangs_holds_up_neither_other_names_nor_the_loops_own_threads(names: Names) -> None:
    names.hold("slow.example")
    async with _listening() as port, _client(names) as client:
        asking = [asyncio.create_task(_get(client, "slow.example", port)) for _ in range(64)]
        await asyncio.sleep(0)
        for host in ("good.example", "localhost", _HERE):
            assert await _get(client, host, port) == _HERE.encode()
        assert await asyncio.to_thread(lambda: True)
        assert names.asked == ["slow.example", "good.example"]
        names.slow["slow.example"].set()
        assert set(await asyncio.gather(*asking)) == {_HERE.encode()}


async def test_over_the_limit_names_wait_in_line(names: Names) -> None:
    hanging = [f"slow-{number}.example" for number in range(LOOKUP_LIMIT)]
    names.hold(*hanging)
    resolver = Resolver(names.look_up)
    asking = [asyncio.create_task(resolver.resolve(host, _soon())) for host in [*hanging, "last.example"]]
    await asyncio.sleep(0)
    assert await resolver.resolve("localhost", _soon()) == ("::1", _HERE)
    with pytest.raises(Unresolved, match=r"'last\.example'.*in time"):
        await resolver.resolve("last.example", asyncio.get_running_loop().time() + 0.01)
    names.slow[hanging[3]].set()
    assert await asking[-1] == [_HERE]
    assert [task.done() for task in asking].count(True) == 2
    for gate in names.slow.values():
        gate.set()
    await asyncio.gather(*asking)
    assert sorted(names.asked) == sorted([*hanging, "last.example"])


async def test_who_gives_up_does_not_end_the_lookup_for_others(names: Names) -> None:
    names.hold("slow.example")
    async with _listening() as port, _client(names) as client:
        patient = asyncio.create_task(_get(client, "slow.example", port))
        cancelled = asyncio.create_task(_get(client, "slow.example", port))
        with pytest.raises(Unreachable, match=r"http://slow\.example:\d+/: cannot resolve 'slow\.example': .* in time"):
            await _get(client, "slow.example", port, timeout_s=0.01)
        cancelled.cancel()
        await asyncio.wait([cancelled])
        names.slow["slow.example"].set()
        assert await patient == _HERE.encode()
        assert names.asked == ["slow.example"]


async def test_a_lookup_that_nobody_waits_for_any_longer_serves_whoever_asks_next(names: Names) -> None:
    names.hold("slow.example")
    resolver = Resolver(names.look_up)
    with pytest.raises(Unresolved):
        await resolver.resolve("slow.example", asyncio.get_running_loop().time() + 0.01)
    names.slow["slow.example"].set()
    assert await resolver.resolve("slow.example", _soon()) == [_HERE]
    assert names.asked == ["slow.example"]


@pytest.mark.parametrize(("keep_s", "lookups"), [(60.0, 1), (0.0, 3)])
async def test_addresses_are_kept_for_a_while(names: Names, keep_s: float, lookups: int) -> None:
    resolver = Resolver(names.look_up, keep_s)
    for _ in range(3):
        assert await resolver.resolve("sub.example", _soon()) == [_HERE]
    assert len(names.asked) == lookups


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "Name or service not known"),
        (OSError("no resolver"), "no resolver"),
        (UnicodeError("label too long"), "label too long"),
        (ValueError(), "ValueError"),
    ],
)
async def test_a_name_that_leads_nowhere_is_unreachable_and_is_asked_for_again(
    names: Names, failure: Exception, reason: str
) -> None:
    names.leads_to["sub.example"] = failure
    async with _listening() as port, _client(names) as client:
        with pytest.raises(
            Unreachable, match=rf"^http://sub\.example:{port}/: cannot resolve 'sub\.example': {reason}$"
        ):
            await _get(client, "sub.example", port)
        names.leads_to["sub.example"] = [_HERE]
        assert await _get(client, "sub.example", port) == _HERE.encode()


async def test_without_a_thread_to_spare_a_name_is_unreachable(names: Names) -> None:
    resolver = Resolver(names.look_up)
    hosts = [f"{number}.example" for number in range(LOOKUP_LIMIT + 3)]
    usual = threading.stack_size(1 << 47)  # more than a process has room for
    try:
        found = await asyncio.gather(*(resolver.resolve(host, _soon()) for host in hosts), return_exceptions=True)
    finally:
        threading.stack_size(usual)
    assert {str(one) for one in found} == {f"cannot resolve {host!r}: can't start new thread" for host in hosts}
    assert await resolver.resolve(hosts[0], _soon()) == [_HERE]


@pytest.mark.parametrize("host", ["10.1.2.3", "::1", "fe80::1%7", "::ffff:10.0.0.1"])
async def test_an_address_needs_no_lookup(names: Names, host: str) -> None:
    assert await Resolver(names.look_up).resolve(host, 0.0) == (host,)
    assert names.asked == []


@pytest.mark.parametrize(
    "addresses",
    [[_HERE], [_HERE, "127.0.0.3"], [_CLOSED, _HERE], ["::1", _CLOSED, _HERE, "127.0.0.3"], [_CLOSED, "127.0.0.3"]],
)
async def test_addresses_are_tried_in_order(names: Names, addresses: list[str]) -> None:
    names.leads_to["sub.example"] = addresses
    async with _listening() as port, _listening("127.0.0.3", port), _client(names) as client:
        expected = next(address for address in addresses if address in (_HERE, "127.0.0.3"))
        assert await _get(client, "sub.example", port) == expected.encode()


async def test_a_host_that_moved_is_found_once_its_old_address_failed(names: Names) -> None:
    names.leads_to["sub.example"] = [_CLOSED, _CLOSED]
    async with _listening() as port, _client(names) as client:
        with pytest.raises(Unreachable, match=r"sub\.example"):
            await _get(client, "sub.example", port)
        names.leads_to["sub.example"] = [_HERE]
        assert await _get(client, "sub.example", port) == _HERE.encode()
        assert len(names.asked) == 2


def _certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """A certificate that signs itself, and its key."""
    cert, key = folder / "server.crt", folder / "server.key"
    new = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    subject = ["-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}", "-days", "1"]
    subprocess.run([*new, *subject, "-keyout", str(key), "-out", str(cert)], check=True, capture_output=True)
    return cert, key


async def _answer_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
    writer.close()
    await writer.wait_closed()


async def test_over_tls_the_name_is_verified_and_a_silent_address_has_only_its_share_of_the_time(
    names: Names, tmp_path: Path
) -> None:
    cert, key = _certificate(tmp_path, "sub.example")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(cert, key)
    server = await asyncio.start_server(_answer_once, _HERE, 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    names.leads_to["sub.example"] = [_CLOSED, *["127.0.0.3"] * 20, _HERE]
    with socket.create_server((_CLOSED, port)):  # takes connections, and never says a word
        async with _client(names, ssl.create_default_context(cafile=cert)) as client:
            assert await _get(client, "sub.example", port, scheme="https", timeout_s=4.0) == b"ok"
            with pytest.raises(Unreachable, match=r"other\.example.*certificate"):
                await _get(client, "other.example", port, scheme="https")
    server.close()
    await server.wait_closed()


_HANGING = """
import asyncio, sys, threading
import uvloop
from wayside.eventing.http.client import HttpClient, Unreachable
from wayside.eventing.http.url import Url

async def ask():
    client = HttpClient(lookup=lambda host: threading.Event().wait())
    try:
        await client.send(b"GET", Url.parse("http://slow.example/"), [], timeout_s=0.01)
    except Unreachable as exc:
        print(exc)
    await client.close()

{"asyncio": asyncio, "uvloop": uvloop}[sys.argv[1]].run(ask())
"""


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_lookup_that_hangs_does_not_keep_its_process_from_ending(loop: str) -> None:
    command = [sys.executable, "-W", "error", "-c", _HANGING, loop]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE_S, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "cannot resolve 'slow.example'" in ended.stdout


def test_a_lookup_may_end_after_its_loop(names: Names) -> None:
    async def ask() -> None:
        with pytest.raises(Unresolved):
            await Resolver(names.look_up).resolve("slow.example", asyncio.get_running_loop().time() + 0.01)

    names.hold("slow.example")
    asyncio.run(ask())
    (thread,) = [thread for thread in threading.enumerate() if thread.name == "lookup-slow.example"]
    names.slow["slow.example"].set()
    thread.join(_PATIENCE_S)
    assert not thread.is_alive()


def test_the_systems_resolver_is_asked() -> None:
    assert _HERE in look_up("localhost")
    zoned = f"fe80::1%{socket.if_nameindex()[0][1]}"
    assert look_up(zoned) == [zoned]
    with pytest.raises(socket.gaierror):
        look_up("no.such.host.invalid")
