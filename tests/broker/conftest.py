"""What the broker's tests share: a subscriber that is told how to answer, a broker in this process, a way to wait."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from wayside.eventing.broker.service import BrokerService, BrokerSettings
from wayside.eventing.event import CloudEvent
from wayside.eventing.http.client import HttpClient
from wayside.eventing.http.message import Headers, Request, Response
from wayside.eventing.http.server import HttpServer
from wayside.eventing.http.url import Url
from wayside.eventing.http_binding import decode, encode_binary

sys.path.insert(0, str(Path(__file__).parent))  # for what tests share that is no fixture
Answer = Callable[[CloudEvent], Awaitable[Response] | Response]
BROKER = "apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {name: default}\n"


async def wait_until(condition: Callable[[], Any], timeout_s: float = 10.0) -> None:
    """Poll until the condition, which may be a coroutine function, holds."""
    async with asyncio.timeout(timeout_s):
        while True:
            held = condition()
            if asyncio.iscoroutine(held):
                held = await held
            if held:
                return
            await asyncio.sleep(0.005)


class Subscriber:
    """A real HTTP server that keeps what it was sent and answers as it is told."""

    def __init__(self) -> None:
        self.answer: Answer = lambda event: Response(200)
        self.requests: list[Request] = []
        self.events: list[CloudEvent] = []
        self._server = HttpServer(self._handle, "127.0.0.1", 0)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.port}/"

    @property
    def ids(self) -> list[str]:
        return [event.id for event in self.events]

    async def start(self) -> None:
        await self._server.start()

    async def stop(self) -> None:
        await self._server.stop(grace_s=0)

    async def _handle(self, request: Request) -> Response:
        event = decode(request.headers, request.body)
        self.requests.append(request)
        self.events.append(event)
        answer = self.answer(event)
        return answer if isinstance(answer, Response) else await answer


class BrokerUnderTest:
    """A broker in this process, with the few calls that tests make."""

    def __init__(self, service: BrokerService, client: HttpClient) -> None:
        self.service = service
        self.client = client

    async def request(
        self, method: bytes = b"POST", path: str = "/default/default", headers: Headers | None = None, body: bytes = b""
    ) -> Response:
        url = Url.parse(f"http://127.0.0.1:{self.service.port}{path}")
        return await self.client.send(method, url, headers or [], body, timeout_s=10)

    async def post(self, event: CloudEvent, headers: Headers | None = None, path: str = "/default/default") -> int:
        own, body = encode_binary(event)
        return (await self.request(b"POST", path, [*own, *(headers or [])], body)).status

    async def admin(self, path: str) -> Any:
        url = Url.parse(f"http://127.0.0.1:{self.service.admin_port}{path}")
        return json.loads((await self.client.send(b"GET", url, [], timeout_s=10)).body)

    async def metrics(self) -> str:
        url = Url.parse(f"http://127.0.0.1:{self.service.admin_port}/metrics")
        return (await self.client.send(b"GET", url, [], timeout_s=10)).body.decode()

    def counts(self, name: str = "t") -> Any:
        return next(trigger for trigger in self.service.counts().triggers if trigger.name == name)

    async def wait_settled(self) -> None:
        await wait_until(lambda: not any(trigger.waiting for trigger in self.service.counts().triggers))


def trigger_yaml(name: str, attributes: Mapping[str, str] | None = None, delivery: str = "") -> str:
    """A Trigger whose subscriber is the Service of the same name; quick retries unless told otherwise."""
    delivery = delivery or "{retry: 3, backoffDelay: PT0.005S, backoffPolicy: linear}"
    return (
        f"---\napiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {{name: {name}}}\nspec:\n"
        f"  broker: default\n  filter: {{attributes: {json.dumps(dict(attributes or {}))}}}\n"
        f"  subscriber: {{ref: {{apiVersion: v1, kind: Service, name: {name}}}}}\n  delivery: {delivery}\n"
    )


class Workshop:
    """Makes subscribers and brokers, and stops them all at the end of the test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._stack = AsyncExitStack()
        self.client = HttpClient()
        self._stack.push_async_callback(self.client.close)

    async def subscriber(self) -> Subscriber:
        subscriber = Subscriber()
        await subscriber.start()
        self._stack.push_async_callback(subscriber.stop)
        return subscriber

    async def broker(self, triggers: str, resolve: Mapping[str, str], **settings: Any) -> BrokerUnderTest:
        manifest = self.folder / "manifest.yaml"
        manifest.write_text(BROKER + triggers)
        urls = {name: Url.parse(url) for name, url in resolve.items()}
        service = BrokerService(
            BrokerSettings(self.folder / "data", (manifest,), urls, port=0, admin_port=0, **settings)
        )
        self._stack.push_async_callback(service.stop)
        await service.start()
        return BrokerUnderTest(service, self.client)

    async def close(self) -> None:
        await self._stack.aclose()


@pytest.fixture
async def workshop(tmp_path: Path) -> AsyncIterator[Workshop]:
    made = Workshop(tmp_path)
    yield made
    await made.close()


@pytest.fixture(scope="session")
def new_trigger() -> Callable[..., str]:
    return trigger_yaml


@pytest.fixture
def until() -> Callable[..., Awaitable[None]]:
    return wait_until


@pytest.fixture(scope="session")
def make_workshop() -> Callable[[Path], Workshop]:
    return Workshop
