"""A service of the user's that makes a file of a batch: it is posted the records, and its answer is stored.

Source: kserve/kserve pkg/logger/marshaller_http.go: a JSON array to any path, `X-Log-Marshal-Extension` in the answer.
Invariant: a batch that the service cannot deal with holds up the others for a few tries at most; a service that is away
costs none.
"""

import re
from collections import OrderedDict
from collections.abc import Sequence

from wayside.eventing.event import CloudEvent
from wayside.eventing.http.client import HttpClient, Unreachable
from wayside.eventing.http.event_sink import retry_after_s
from wayside.eventing.http.message import JSON, Response
from wayside.eventing.http.url import Url
from wayside.eventing.kafka.thread import WorkThread
from wayside.eventing.sink import EventRefused, SinkUnavailable
from wayside.logger.emit.store.formats import File, json_records
from wayside.logger.emit.store.names import batch_digest
from wayside.logger.emit.store.records import Records

TRIES = 5
_TIMEOUT_S = 30.0
_KNOWN_LIMIT = 256
_AWAY = frozenset((404, 408, 409, 425, 429, 502, 503, 504))
_EXTENSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}")
_TEXT_LIMIT = 200


class _BadAnswer(SinkUnavailable):
    """The service took the batch, and what came back is of no use."""


class Marshaller:
    """Posts batches to `url`. Answers are taken up to the 16 MiB of `HttpClient`."""

    def __init__(self, url: Url, records: Records, thread: WorkThread) -> None:
        self._url = url
        self._records = records
        self._thread = thread
        self._client = HttpClient()
        self._failed: OrderedDict[str, int] = OrderedDict()

    async def file(self, batch: Sequence[CloudEvent]) -> File:
        """Raises `SinkUnavailable`, or `EventRefused` where the service refuses or `TRIES` times failed on a batch."""
        try:
            return _file_of(self._url, await self._post(batch))
        except _BadAnswer as exc:
            if self._count_failure(batch_digest(batch)) < TRIES:
                raise
            raise EventRefused(f"{exc}, {TRIES} times for the same batch") from exc

    async def stop(self) -> None:
        await self._client.close()

    async def _post(self, batch: Sequence[CloudEvent]) -> Response:
        body = await self._thread.call(lambda: json_records(self._records, batch))
        try:
            return await self._client.send(b"POST", self._url, [JSON], body, timeout_s=_TIMEOUT_S)
        except Unreachable as exc:
            raise _BadAnswer(str(exc)) if _was_reached(exc) else SinkUnavailable(str(exc)) from exc

    def _count_failure(self, digest: str) -> int:
        count = self._failed.pop(digest, 0) + 1
        self._failed[digest] = count
        if len(self._failed) > _KNOWN_LIMIT:
            self._failed.popitem(last=False)
        return count


def _was_reached(exc: Unreachable) -> bool:
    """Whether it answered, badly: what the system says of connections has a number, and a time-out is no answer."""
    cause = exc.__cause__
    return isinstance(cause, OSError) and not isinstance(cause, TimeoutError) and cause.errno is None


def _file_of(url: Url, response: Response) -> File:
    if not 200 <= response.status < 300:
        raise _error(url, response)
    extension = (response.header(b"x-log-marshal-extension") or b"json").decode("latin-1").strip()
    if _EXTENSION.fullmatch(extension) is None:
        raise _BadAnswer(f"{url.text} answered with {extension[:64]!r}, which is no extension of a file name")
    content_type = (response.header(b"content-type") or b"application/octet-stream").decode("latin-1")
    return File(response.body, extension, content_type)


def _error(url: Url, response: Response) -> SinkUnavailable | EventRefused:
    text = response.body[:_TEXT_LIMIT].decode(errors="replace").strip()
    reason = f"{url.text} answered {response.status}" + (f": {text}" if text else "")
    if response.status in _AWAY:
        return SinkUnavailable(reason, retry_after_s(response))
    return _BadAnswer(reason) if response.status >= 500 else EventRefused(reason)
