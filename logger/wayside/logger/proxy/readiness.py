"""How the model server is asked whether it is ready, as Kubernetes would ask it.

Source: core/v1 Probe, as Knative's queue-proxy hands it on in `SERVING_READINESS_PROBE`.
Invariant: a question is asked in bounded time, and whatever goes wrong with it means "not ready".
"""

import asyncio
import json
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from wayside.eventing.errors import ConfigurationError
from wayside.eventing.http.client import HttpClient, Unreachable
from wayside.eventing.http.url import Origin, Url
from wayside.eventing.sink import SinkUnavailable
from wayside.logger.settings import Upstream

_TIMEOUT_S = 1.0
_OURS = ("host", "content-length", "connection")


@dataclass(frozen=True, slots=True)
class ProbeTarget:
    """Where the model is asked whether it is ready: a TCP connection, or a GET of `path` where one is named."""

    host: str
    port: int
    path: str | None = None
    tls: bool = False
    headers: tuple[tuple[bytes, bytes], ...] = ()
    timeout_s: float = _TIMEOUT_S

    @classmethod
    def of(cls, text: str, upstream: Upstream) -> "tuple[ProbeTarget, ...]":
        """From `SERVING_READINESS_PROBE`: a Kubernetes probe as JSON, or an array of which all must pass.

        A probe that a sidecar cannot make (`exec`), or need not (`grpc`, of which a connection tells enough), becomes a
        TCP connection to the model server. Raises `ConfigurationError` where the text is no probe.
        """
        try:
            probes = json.loads(text) if text else {}
            return tuple(_from_probe(probe or {}, upstream) for probe in _listed(probes))
        except (ValueError, TypeError, AttributeError) as exc:
            raise ConfigurationError(f"SERVING_READINESS_PROBE is no probe that the logger can make: {exc!r}") from exc

    @property
    def url(self) -> Url:
        host = f"{self.host}:{self.port}"
        scheme = "https" if self.tls else "http"
        path = (self.path or "/").encode()
        return Url(Origin(self.host, self.port, self.tls), path, host.encode(), f"{scheme}://{host}")

    async def passes(self, client: HttpClient) -> bool:
        """Ask; `client` carries the GET."""
        if self.path is None:
            return await self._connects()
        headers = [(b"user-agent", b"kube-probe/"), (b"connection", b"close"), *self.headers]
        try:
            response = await client.send(b"GET", self.url, headers, timeout_s=self.timeout_s)
        except (Unreachable, SinkUnavailable, UnicodeError):
            return False
        return 200 <= response.status < 400

    async def _connects(self) -> bool:
        with suppress(OSError, UnicodeError, TimeoutError):
            async with asyncio.timeout(self.timeout_s):
                _, writer = await asyncio.open_connection(self.host, self.port)
                writer.close()
                return True
        return False


def _listed(probes: Any) -> list[Any]:
    return probes if isinstance(probes, list) else [probes]


def _from_probe(probe: dict[str, Any], upstream: Upstream) -> ProbeTarget:
    http = probe.get("httpGet")
    action = http or probe.get("tcpSocket") or {}
    host, port = str(action.get("host") or upstream.host), _port(action.get("port"), upstream)
    timeout_s = float(probe.get("timeoutSeconds") or _TIMEOUT_S)
    if http is None:
        return ProbeTarget(host, port, timeout_s=timeout_s)
    path = str(http.get("path") or "/")
    path = path if path.startswith("/") else "/" + path
    tls = str(http.get("scheme") or "HTTP").upper() == "HTTPS"
    return ProbeTarget(host, port, _line(path), tls, _headers(http.get("httpHeaders") or []), timeout_s)


def _port(value: Any, upstream: Upstream) -> int:
    """The model server's port where it is 0, as Knative writes it, or a name, which only the pod knows."""
    if not value or (isinstance(value, str) and not value.isdecimal()):
        return upstream.port
    return int(value)


def _headers(fields: list[dict[str, str]]) -> tuple[tuple[bytes, bytes], ...]:
    pairs = [(_line(field.get("name", "")), _line(field.get("value", ""))) for field in fields]
    return tuple((name.lower().encode(), value.encode()) for name, value in pairs if name.lower() not in _OURS)


def _line(text: str) -> str:
    if not text.isprintable():
        raise ValueError(f"{text!r} has a control character")
    return text
