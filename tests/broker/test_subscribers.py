"""A subscriber in this process answers as its HTTP server would, whatever it raises."""

import asyncio
import logging

import pytest

from wayside.eventing.broker.subscribers import Subscribers
from wayside.eventing.errors import MalformedEvent
from wayside.eventing.event import CloudEvent
from wayside.eventing.http.client import HttpClient, Unreachable
from wayside.eventing.http.message import Response
from wayside.eventing.http.url import Url
from wayside.eventing.sink import EventRefused, SinkUnavailable

URL = Url.parse("http://here.test/")
EVENT = CloudEvent("1", "/s", "t")


class Raising:
    """A sink that raises."""

    def __init__(self, raised: BaseException | None) -> None:
        self.raised = raised

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def send(self, event: CloudEvent) -> None:
        await asyncio.sleep(0)
        if self.raised is not None:
            raise self.raised


async def send(raised: BaseException | None) -> Response:
    client = HttpClient()
    try:
        return await Subscribers(client, {URL: Raising(raised)}).send(URL, EVENT, [], timeout_s=5)
    finally:
        await client.close()


@pytest.mark.parametrize(
    ("raised", "status", "retry_after"),
    [
        (None, 202, None),
        (SinkUnavailable("later", 1.2), 503, b"2"),
        (SinkUnavailable("later"), 503, None),
        (EventRefused("no"), 400, None),
        (MalformedEvent("no"), 400, None),
    ],
)
async def test_what_it_means_to_say(raised: Exception | None, status: int, retry_after: bytes | None) -> None:
    response = await send(raised)
    assert (response.status, response.header(b"retry-after")) == (status, retry_after)


@pytest.mark.parametrize("raised", [ValueError("a bug"), TimeoutError("its own"), asyncio.CancelledError("its own")])
async def test_a_fault_of_it_is_a_500_and_is_logged(raised: BaseException, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        response = await send(raised)
    assert response.status == 500
    assert b"a bug" not in response.body
    (record,) = caplog.records
    assert record.exc_info is not None
    assert record.exc_info[1] is raised


async def test_the_cancellation_of_whoever_sends_passes_through() -> None:
    began = asyncio.Event()

    class Waiting(Raising):
        async def send(self, event: CloudEvent) -> None:
            began.set()
            await asyncio.Event().wait()

    client = HttpClient()
    sending = asyncio.create_task(Subscribers(client, {URL: Waiting(None)}).send(URL, EVENT, [], timeout_s=60))
    await began.wait()
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    with pytest.raises(Unreachable, match="no answer within"):
        await Subscribers(client, {URL: Waiting(None)}).send(URL, EVENT, [], timeout_s=0.01)
    await client.close()
