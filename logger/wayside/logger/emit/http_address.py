"""Where a log url over HTTP points, and with what credentials, if it names any.

Source: RFC 7617 (Basic); Go's net/http, by which KServe's agent sends a URL's user and password so.
Invariant: credentials are in `authorization` alone: `text`, which goes into logs, has none.
"""

from base64 import b64encode
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit, urlunsplit

from wayside.eventing.errors import ConfigurationError
from wayside.eventing.http.url import Url


@dataclass(frozen=True, slots=True)
class HttpAddress:
    """A parsed http(s) URL: where to connect, the request target, and the headers that go with it: `host`, here
    `authority`, and unless it is empty `authorization`."""

    text: str
    host: str
    port: int
    tls: bool
    target: str
    authority: str
    authorization: str = ""

    @classmethod
    def parse(cls, text: str) -> "HttpAddress":
        """Raises `ConfigurationError` for anything but an absolute http or https URL."""
        bare, authorization = _without_credentials(text)
        url = Url.parse(bare)
        origin = url.origin
        return cls(
            url.text, origin.host, origin.port, origin.tls, url.target.decode(), url.host.decode(), authorization
        )


def _without_credentials(text: str) -> tuple[str, str]:
    """A URL without user and password, and the header that they make. Raises `ConfigurationError`."""
    try:
        parts = urlsplit(text)
    except ValueError as exc:
        raise ConfigurationError("a log url is not a URL") from exc  # it may hold a password
    user_info, at, authority = parts.netloc.rpartition("@")
    if not at:
        return text, ""
    user, _, password = user_info.partition(":")
    pair = f"{unquote(user)}:{unquote(password)}".encode()
    return urlunsplit(parts._replace(netloc=authority)), f"Basic {b64encode(pair).decode()}"
