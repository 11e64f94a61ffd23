"""Files of an artifact under a URL: `https://host/folder` is asked for `https://host/folder/detector.json` and so on.

Source: RFC 9110. The URL's query (a signature) goes with every request; its user and password as Basic credentials.
Invariant: no more than the limit is read, whatever a server announces, and for no longer than that takes; redirects are
few, never lead from https to http, and take credentials to no other origin. What an error says names the URL without
credentials and query.
"""

import base64
import string
import time
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.client import HTTPException, HTTPResponse, InvalidURL
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import SplitResult, quote, unquote, urljoin, urlsplit

from wayside.detectors.artifacts.deadline import Deadline, HttpBy, HttpsBy
from wayside.detectors.artifacts.fetching import FetchSettings
from wayside.detectors.artifacts.files import FileMissing, Files, check_file_name
from wayside.eventing.backoff import Backoff
from wayside.eventing.errors import ConfigurationError

_MOST_REDIRECTS = 5
_STEP_BYTES = 1 << 18
_REDIRECTS = (301, 302, 303, 307, 308)
_MISSING = (404, 410)
_REFUSED = (401, 403, 407)
_PATH = "/%:@!$&'()*+,;=~"  # what a path may hold as it is (RFC 3986): all else is escaped
_MAY_PASS = (408, 425, 429, 500, 502, 503, 504)


class WebFiles(Files):
    """The files under a base URL."""

    def __init__(self, parts: SplitResult, settings: FetchSettings) -> None:
        """Raises `ConfigurationError` for a URL without a host."""
        if not parts.hostname:
            raise ConfigurationError(f"an artifact's {parts.scheme}:// URL names no host: {parts.scheme}://host/folder")
        self.where = masked(parts)
        self._base = parts
        self._settings = settings

    def read(self, name: str, limit_bytes: int) -> bytes:
        base = self._base
        path = f"{quote(base.path.rstrip('/'), safe=_PATH)}/{quote(check_file_name(name))}"
        query = quote(base.query, safe=f"{_PATH}?")
        url = base._replace(netloc=_host(base), path=path, query=query, fragment="").geturl()
        return fetch(Wanted(url, f"{self.where}/{name}", _credentials(base)), limit_bytes, self._settings)

    def names(self) -> list[str]:
        return []


@dataclass(frozen=True, slots=True)
class Wanted:
    """One file: its URL, how an error calls it, and the headers that only its own origin is sent."""

    url: str
    where: str
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)


class _MayPass(Exception):
    """What another try may not meet."""


def fetch(wanted: Wanted, limit_bytes: int, settings: FetchSettings) -> bytes:
    """All bytes of a file. Raises `FileMissing`, or `ConfigurationError` where it is longer or does not come."""
    backoff = Backoff(first_s=settings.pause_s, limit_s=10 * settings.pause_s)
    for failures in range(1, settings.tries + 1):
        try:
            return _fetch_once(wanted, limit_bytes, settings)
        except _MayPass as exc:
            if failures == settings.tries:
                raise ConfigurationError(f"cannot read {wanted.where}: {exc}") from None
        time.sleep(backoff.delay_s(failures))
    raise AssertionError("the last try returns or raises")


def masked(parts: SplitResult) -> str:
    """A URL for people: without user, password, query and fragment."""
    return parts._replace(netloc=_host(parts), query="", fragment="").geturl().rstrip("/")


def _host(parts: SplitResult) -> str:
    return parts.netloc.rpartition("@")[2]


def _credentials(parts: SplitResult) -> Mapping[str, str]:
    if parts.username is None:
        return {}
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}


def _fetch_once(wanted: Wanted, limit_bytes: int, settings: FetchSettings) -> bytes:
    limit_s = settings.limit_s(limit_bytes)
    with Deadline(limit_s) as deadline:
        try:
            with _open(wanted, deadline, settings) as response:
                return _read(response, wanted, limit_bytes, deadline)
        except HTTPError as exc:
            exc.close()
            raise _refusal(exc.code, wanted) from None
        except (ValueError, InvalidURL) as exc:
            raise ConfigurationError(
                f"{wanted.where}, or where it is redirected to, is no URL that can be asked for ({type(exc).__name__})"
            ) from None
        except (HTTPException, OSError) as exc:
            raise _MayPass(
                f"not there within {limit_s:.3g} s" if deadline.has_passed else _reason(exc, settings)
            ) from None


def _reason(error: Exception, settings: FetchSettings) -> str:
    if isinstance(error, URLError):
        return str(error.reason)[:200]
    if isinstance(error, TimeoutError):
        return f"no answer within {settings.timeout_s:g} s"
    return f"the connection broke ({type(error).__name__})"


def _refusal(status: int, wanted: Wanted) -> Exception:
    if status in _MISSING:
        return FileMissing(f"there is no {wanted.where} ({status})")
    if status in _REFUSED:
        return ConfigurationError(f"cannot read {wanted.where}: it is refused ({status}): check the credentials")
    if status in _MAY_PASS:
        return _MayPass(f"the server answers {status}")
    return ConfigurationError(f"cannot read {wanted.where}: the server answers {status}")


def _open(wanted: Wanted, deadline: Deadline, settings: FetchSettings) -> HTTPResponse:
    """The response at the end of the redirects. Raises `HTTPError` for what is neither."""
    opener = urllib.request.build_opener(_NoRedirects, HttpBy(deadline), HttpsBy(deadline))
    url = wanted.url
    for _ in range(_MOST_REDIRECTS + 1):
        secrets = wanted.secrets if _origin(url) == _origin(wanted.url) else {}
        request = urllib.request.Request(url, headers={"Accept-Encoding": "identity", **secrets})
        deadline.check()
        try:
            response: HTTPResponse = opener.open(request, timeout=settings.timeout_s)
        except HTTPError as exc:
            if exc.code not in _REDIRECTS:
                raise
            url = _next(url, exc, wanted)
            continue
        return response
    raise ConfigurationError(f"cannot read {wanted.where}: it is redirected more than {_MOST_REDIRECTS} times")


def _next(url: str, answer: HTTPError, wanted: Wanted) -> str:
    """Where a redirect leads."""
    answer.close()
    said = quote(answer.headers.get("location", ""), encoding="latin-1", safe=string.punctuation)  # as urllib does
    found = urljoin(url, said)
    scheme = urlsplit(found).scheme
    if scheme not in ("http", "https") or (scheme == "http" and url.startswith("https:")):
        raise ConfigurationError(f"cannot read {wanted.where}: it is redirected from a safe URL to one that is not")
    return found


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port


def _read(response: HTTPResponse, wanted: Wanted, limit_bytes: int, deadline: Deadline) -> bytes:
    content = bytearray()
    while part := response.read1(min(_STEP_BYTES, limit_bytes + 1 - len(content))):
        content += part
        if len(content) > limit_bytes:
            raise ConfigurationError(f"{wanted.where} has more than {limit_bytes} bytes")
        deadline.check()
    deadline.check()  # which ends a body of no said length as its server would
    if response.length:
        raise _MayPass(f"the connection ended {response.length} bytes short")
    return bytes(content)


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Leaves redirects to the caller, who bounds them: each is an `HTTPError`, which holds the answer."""

    def http_error_302(self, *_: Any, **__: Any) -> None:
        return None

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302
