"""The broker and its subscribers as processes that may be killed, a load that survives that, and what the store says.

Invariant: no process outlives its `stop`, and what one says on stderr is read, so that it never waits for a reader.
"""

import asyncio
import json
import re
import shutil
import signal
import socket
import sqlite3
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

from wayside.eventing.broker import tables
from wayside.eventing.event import CloudEvent
from wayside.eventing.http.client import HttpClient, Unreachable
from wayside.eventing.http.url import Url
from wayside.eventing.http_binding import encode_binary

STORE = "journal.db"
SENDERS = 16
_PORTS = re.compile(r"events: port (\d+) .*admin: port (\d+)")
_SUBSCRIBER = Path(__file__).with_name("crash_subscriber.py")
_START_S = 30.0


class BrokerProcess:
    """`python -m wayside.eventing.broker` on ports that the system chose; started and killed any number of times."""

    def __init__(self, folder: Path, flags: Sequence[str] = ()) -> None:
        self.folder = folder
        self.lines: list[str] = []
        self._flags = flags
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._ports: asyncio.Future[tuple[str, str]] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def start(self) -> None:
        """Returns once it takes events."""
        flags = ["--data", str(self.folder / "data"), "--manifest", str(self.folder / "manifest.yaml"), "--port", "0"]
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "wayside.eventing.broker", *flags, "--admin-port", "0", *self._flags),
            stderr=asyncio.subprocess.PIPE,
        )
        self._ports = asyncio.get_running_loop().create_future()
        self._reading = asyncio.create_task(self._read(self._process, self._ports))
        port, admin_port = await asyncio.wait_for(self._ports, _START_S)
        self.url = Url.parse(f"http://127.0.0.1:{port}/default/default")
        self._triggers = Url.parse(f"http://127.0.0.1:{admin_port}/triggers")

    async def _read(self, process: asyncio.subprocess.Process, ports: asyncio.Future[tuple[str, str]]) -> None:
        assert process.stderr is not None
        async for line in process.stderr:
            self.lines.append(line.decode())
            found = _PORTS.search(self.lines[-1])
            if found is not None and not ports.done():
                ports.set_result((found[1], found[2]))
        if not ports.done():
            ports.set_exception(RuntimeError(f"the broker did not start: {''.join(self.lines)}"))

    async def stop(self, number: int = signal.SIGKILL) -> int:
        """Send the signal and wait for its end; returns the exit status."""
        assert self._process is not None
        assert self._reading is not None
        if self._process.returncode is None:
            self._process.send_signal(number)
        await self._reading
        return await self._process.wait()

    async def view(self) -> Any:
        """What it counted, Triggers by their names."""
        async with closing_client() as client:
            response = await client.send(b"GET", self._triggers, [], timeout_s=10)
        counts = json.loads(response.body)
        return counts | {"triggers": {trigger["name"]: trigger for trigger in counts["triggers"]}}

    async def is_settled(self) -> bool:
        return not any(trigger["waiting"] for trigger in (await self.view())["triggers"].values())


class SubscriberProcess:
    """crash_subscriber.py at one port, whatever becomes of it."""

    def __init__(self, folder: Path, name: str, delay_s: float, reply_type: str = "") -> None:
        self.name = name
        port = _free_port()
        self.url = f"http://127.0.0.1:{port}/"
        self._file = folder / f"{name}.ids"
        self._arguments = [str(port), str(self._file), str(delay_s)]
        self._arguments += [reply_type] if reply_type else []
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Returns once it takes events."""
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, str(_SUBSCRIBER), *self._arguments, stdout=asyncio.subprocess.PIPE
        )
        assert self._process.stdout is not None
        assert await asyncio.wait_for(self._process.stdout.readline(), _START_S) == b"ready\n"

    async def stop(self) -> None:
        assert self._process is not None
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGKILL)
        await self._process.communicate()

    def ids(self) -> Counter[str]:
        """How often it was given each event."""
        return Counter(self._file.read_text().split())


@asynccontextmanager
async def closing_client() -> AsyncIterator[HttpClient]:
    client = HttpClient(idle_limit=SENDERS)
    try:
        yield client
    finally:
        await client.close()


class Load:
    """Posts events, each until it is answered 202. `accepted` are those that were."""

    def __init__(self, data_bytes: int = 200) -> None:
        self.accepted: set[str] = set()
        self.refused = 0
        self._unanswered: list[str] = []
        self._data = b"x" * data_bytes

    async def post(self, broker: BrokerProcess, ids: Iterable[str] = ()) -> None:
        """These, and what was not accepted before; ends early where the broker does, or refuses."""
        self._unanswered += ids
        async with closing_client() as client:
            await asyncio.gather(*(self._post_some(client, broker.url) for _ in range(SENDERS)))

    async def _post_some(self, client: HttpClient, url: Url) -> None:
        while self._unanswered:
            event_id = self._unanswered.pop()
            headers, body = encode_binary(CloudEvent(event_id, "/s", "t", self._data))
            try:
                status = (await client.send(b"POST", url, headers, body, timeout_s=10)).status
            except Unreachable:
                status = 0
            if status == 202:
                self.accepted.add(event_id)
                continue
            self._unanswered.append(event_id)
            assert status in (0, 503), f"{event_id} was answered {status}"
            self.refused += status == 503
            return


def differing_counts(folder: Path) -> int:
    """For how many Triggers the store's counts are not what waits in it. Looks at a copy: the crash is not undone."""
    with tempfile.TemporaryDirectory(dir=folder) as copies:
        for file in (folder / "data").glob(f"{STORE}*"):
            shutil.copy(file, copies)
        with closing(sqlite3.connect(Path(copies) / STORE)) as connection:
            return tables.recount(connection)


def is_intact(folder: Path) -> bool:
    with closing(sqlite3.connect(folder / "data" / STORE)) as connection:
        (result,) = connection.execute("PRAGMA integrity_check").fetchone()
    return bool(result == "ok")


def resolutions(urls: Mapping[str, str]) -> list[str]:
    """The flags that say where each subscriber is."""
    return [text for name, url in urls.items() for text in ("--resolve", f"{name}={url}")]


def _free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port: int = bound.getsockname()[1]
        return port
