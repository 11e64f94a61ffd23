"""Where a URL over HTTP points.

Source: RFC 9110 section 4.2; RFC 9112 section 3.2.
Invariant: what parses can stand in a request's head as it is, and holds no credentials. The standard library alone.
"""

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from wayside.eventing.errors import ConfigurationError

_VISIBLE = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a URL points: host, port, and whether TLS is spoken."""

    host: str
    port: int
    tls: bool


@dataclass(frozen=True, slots=True)
class Url:
    """A parsed http(s) URL: its origin, the request target, and the `host` header that goes with it."""

    origin: Origin
    target: bytes
    host: bytes
    text: str

    @classmethod
    def parse(cls, text: str) -> "Url":
        """Raises `ConfigurationError` for anything but an absolute http or https URL."""
        try:
            parts = urlsplit(text)
            port = parts.port
            (parts.hostname or "").encode("idna")  # as the resolver will: a label may be empty or too long
        except ValueError as exc:
            raise ConfigurationError(f"{text!r} is not a URL: {exc}") from exc
        if parts.scheme not in ("http", "https") or not parts.hostname or _VISIBLE.fullmatch(text) is None:
            raise ConfigurationError(f"{text!r} is not an absolute http:// or https:// URL")
        if parts.username is not None:
            raise ConfigurationError(f"a URL to {parts.hostname} names a user: credentials in a URL are not sent")
        tls = parts.scheme == "https"
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        origin = Origin(parts.hostname, port or (443 if tls else 80), tls)
        return cls(origin, target.encode(), parts.netloc.encode(), text)
