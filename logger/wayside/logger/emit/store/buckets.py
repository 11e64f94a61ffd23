"""A bucket of S3, Google Cloud Storage or Azure as a store. Needs the extra `store`.

Source: obstore, Python's binding of Rust's object_store.
Invariant: an object is written in one request, so it is there whole or not at all; what an error says holds no secret.
"""

import asyncio
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from wayside.eventing.errors import ConfigurationError, MissingExtra
from wayside.eventing.sink import EventRefused, SinkUnavailable
from wayside.logger.emit.store.address import Cloud
from wayside.logger.emit.store.clouds import BucketSettings
from wayside.logger.emit.store.formats import File

try:
    from obstore import put_async
    from obstore.exceptions import InvalidPathError, NotSupportedError, PermissionDeniedError, UnauthenticatedError
    from obstore.store import AzureStore, GCSStore, ObjectStore, S3Store
except ImportError as exc:
    raise MissingExtra("A bucket as log url", "store") from exc

_STORES: dict[Cloud, Callable[..., ObjectStore]] = {Cloud.S3: S3Store, Cloud.GCS: GCSStore, Cloud.AZURE: AzureStore}
_CONNECT_S = 5.0
_SLOWEST_BYTES_PER_S = 1 << 20  # what an upload is given time for, besides `timeout_s`
_REASON_LIMIT = 300
_QUERY = re.compile(r"\?[^\s\"'<>)]*")  # of a signed URL
_STATUS = re.compile(r"status code: (\d{3}[A-Za-z ]*)")
_XML_TEXT = re.compile(r"<(Code|Message)>([^<]{1,200})<")


class BucketWriter:
    """Writes objects. The client keeps its connections, gets its credentials anew before they expire, and does not try
    again: that is the emitter's."""

    def __init__(self, settings: BucketSettings, timeout_s: float) -> None:
        """Raises `ConfigurationError` for settings or a file of credentials that cannot be used."""
        self._settings = settings
        self._timeout_s = timeout_s
        try:
            self._store = _STORES[settings.cloud](
                settings.bucket,
                config=settings.config,
                client_options=_client(settings),
                retry_config={"max_retries": 0},
            )
        except Exception as exc:  # obstore's errors for settings have no class in common
            raise ConfigurationError(f"the store {self._name()} cannot be used: {_reason(exc)}") from None

    async def write(self, name: str, file: File) -> None:
        """Raises `SinkUnavailable`, or `EventRefused` where the store can have no such object."""
        limit_s = self._timeout_s + len(file.body) / _SLOWEST_BYTES_PER_S
        try:
            async with asyncio.timeout(limit_s):
                attributes: Any = {"Content-Type": file.content_type}
                await put_async(self._store, name, file.body, use_multipart=False, attributes=attributes)
        except TimeoutError as exc:
            raise SinkUnavailable(f"{self._name()}: no answer within {limit_s:.3g} s") from exc
        except Exception as exc:  # as above: a missing bucket, for one, comes as `FileNotFoundError`
            raise self._error(exc) from None  # whose text may hold what is signed

    def _name(self) -> str:
        return f"{self._settings.cloud.value}://{self._settings.bucket}"

    def _error(self, exc: Exception) -> SinkUnavailable | EventRefused:
        reason = f"{self._name()}: {_reason(exc)}"
        if isinstance(exc, InvalidPathError | NotSupportedError | ValueError):
            return EventRefused(reason)
        return SinkUnavailable(reason + _what_to_do(exc))


def _client(settings: BucketSettings) -> dict[str, Any]:
    """Of the HTTP client. Its own limit is far off: a write has its own."""
    options: dict[str, Any] = {"connect_timeout": timedelta(seconds=_CONNECT_S), "timeout": timedelta(hours=1)}
    if settings.plain_http:
        options["allow_http"] = True
    if settings.ca_file:
        options["root_certificate"] = Path(settings.ca_file).read_bytes()
    return options


def _reason(exc: Exception) -> str:
    """What the store itself said, in its XML, or else the first line of what the client says."""
    text = str(exc).partition("\n\nDebug source:")[0]
    said = [part for _, part in _XML_TEXT.findall(text)]
    if said:
        text = ": ".join([*_STATUS.findall(text), *said])
    return _QUERY.sub("?…", text.partition("\n")[0])[:_REASON_LIMIT]


def _what_to_do(exc: Exception) -> str:
    if isinstance(exc, UnauthenticatedError):
        return " (check the credentials in the logger's environment)"
    if isinstance(exc, PermissionDeniedError):
        return " (let the logger's account write objects there)"
    if isinstance(exc, FileNotFoundError):
        return " (make the bucket, or mend the log url)"
    return ""
