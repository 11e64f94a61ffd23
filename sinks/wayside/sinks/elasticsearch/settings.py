"""Which Elasticsearch, as whom, under which names, and within what bounds.

Invariant: no secret is shown by `repr` or an error; a wrong setting is an error before anything is opened.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path

from wayside.eventing.errors import ConfigurationError
from wayside.eventing.http.url import Url

_PREFIX = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Bounds:
    """What is held and sent at once, and for how long.

    `waiting_*` bound the events that wait for their batch, `batch_*` one batch of them; after the first of a batch
    others are waited for during `linger_s`. Changes of `plan_documents` are held at once, or of one event that has
    more. `read_documents` are read and written together, or fewer where, by what was written before, they are likely
    to be over `read_bytes`; `bulk_bytes` are one request. Events go back to their senders after `give_up_s` without a
    success.
    """

    waiting_events: int = 10_000
    waiting_bytes: int = 64 << 20
    batch_events: int = 500
    batch_bytes: int = 8 << 20
    linger_s: float = 0.005
    plan_documents: int = 50_000
    read_documents: int = 1_000
    read_bytes: int = 32 << 20
    bulk_bytes: int = 8 << 20
    request_timeout_s: float = 10.0
    give_up_s: float = 15.0


@dataclass(frozen=True, slots=True)
class ElasticsearchSettings:
    """Raises `ConfigurationError` for a bad URL or prefix, and for credentials that do not go together.

    `ca_file` holds the certificates that a server's must be signed by, in place of the system's. `wait_s` is how long
    a start waits for Elasticsearch to answer.
    """

    url: str
    index_prefix: str = "wayside"
    ca_file: Path | None = None
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    api_key: str | None = field(default=None, repr=False)
    wait_s: float = 60.0
    bounds: Bounds = Bounds()

    def __post_init__(self) -> None:
        if "@" in self.url.partition("://")[2].partition("/")[0]:
            raise ConfigurationError("the URL of Elasticsearch names a user: use WAYSIDE_SINK_USER and _PASSWORD")
        Url.parse(self.url)
        if _PREFIX.fullmatch(self.index_prefix) is None:
            raise ConfigurationError(f"{self.index_prefix!r} is not an index prefix: use a-z, 0-9, '.', '_' and '-'")
        if (self.user is None) != (self.password is None):
            raise ConfigurationError("a user needs a password, and a password a user: give both, or an API key")
        if self.user is not None and self.api_key is not None:
            raise ConfigurationError("give a user and a password, or an API key, not both")
        if self.ca_file is not None and not self.ca_file.is_file():
            raise ConfigurationError(f"there is no file {self.ca_file}: --ca-file takes certificates in PEM")

    @property
    def node_url(self) -> str:
        """The URL with the port written out, as the client wants it."""
        origin = Url.parse(self.url).origin
        host = f"[{origin.host}]" if ":" in origin.host else origin.host
        path = self.url.partition("://")[2].partition("/")[2].partition("?")[0].rstrip("/")
        return f"http{'s' if origin.tls else ''}://{host}:{origin.port}" + (f"/{path}" if path else "")
