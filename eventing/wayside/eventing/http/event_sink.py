"""A sink over HTTP: posts events in binary mode to one URL, a broker's ingress or any other subscriber.

Invariant: `send` returns only after a 2xx. Which answers are worth another try follows Knative's delivery contract:
404, 408, 409, 425, 429, 5xx and broken connections are; every other 3xx and 4xx is final.
"""

from wayside.eventing.event import CloudEvent
from wayside.eventing.http.client import HttpClient, Unreachable
from wayside.eventing.http.message import Response
from wayside.eventing.http.url import Url
from wayside.eventing.http_binding import encode_binary
from wayside.eventing.sink import EventRefused, SinkUnavailable

_TRY_AGAIN = frozenset((404, 408, 409, 425, 429))
_REASON_LIMIT = 200


class HttpEventSink:
    """Posts to `url`, exactly as given. A `client` that is handed in stays the caller's to close."""

    def __init__(self, url: str, timeout_s: float, client: HttpClient | None = None) -> None:
        """Raises `ConfigurationError` where `url` is no absolute http(s) URL."""
        self.url = Url.parse(url)
        self._timeout_s = timeout_s
        self._client = client or HttpClient()
        self._owns_client = client is None

    async def start(self) -> None:
        """Nothing is opened before the first event."""

    async def stop(self) -> None:
        if self._owns_client:
            await self._client.close()

    async def send(self, event: CloudEvent) -> None:
        """Post one event. Raises `SinkUnavailable` where another try may help, `EventRefused` where none will."""
        headers, body = encode_binary(event)
        try:
            response = await self._client.send(b"POST", self.url, headers, body, timeout_s=self._timeout_s)
        except Unreachable as exc:
            raise SinkUnavailable(str(exc)) from exc
        if not 200 <= response.status < 300:
            raise _error(self.url, response)


def _error(url: Url, response: Response) -> SinkUnavailable | EventRefused:
    text = response.body[:_REASON_LIMIT].decode(errors="replace").strip()
    reason = f"{url.text} answered {response.status}" + (f": {text}" if text else "")
    if response.status >= 500 or response.status in _TRY_AGAIN:
        return SinkUnavailable(reason, retry_after_s(response))
    return EventRefused(reason)


def retry_after_s(response: Response) -> float | None:
    """Seconds that a `retry-after` header asks for; None without one, or with a date, which needs a clock."""
    value = (response.header(b"retry-after") or b"").strip()
    return float(value) if value.isdigit() and len(value) <= 6 else None
