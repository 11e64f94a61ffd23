"""TLS to the log url: whom to trust, read again when the CA file is replaced.

Source: kserve/kserve pkg/logger: the CA file where it is mounted, else the system's trust; verification can be skipped.
Invariant: a CA file that cannot be read stops a logger at its start and never one that runs: what was read last counts.
"""

import asyncio
import logging
import ssl
from pathlib import Path

from wayside.eventing.errors import ConfigurationError

log = logging.getLogger("wayside.logger")
_Version = tuple[int, int, int] | None


class ClientTls:
    """The contexts of new connections. Raises `ConfigurationError` for a CA file that is none."""

    def __init__(self, ca_file: Path, *, skip_verify: bool) -> None:
        self._ca_file = ca_file
        self._skip_verify = skip_verify
        self._version = _version_of(ca_file)
        self._context = self._load()

    async def wait_context(self) -> ssl.SSLContext:
        """The context for a connection now. A file that has changed is read in a thread: it may hold many CAs."""
        version = _version_of(self._ca_file)
        if version != self._version:
            self._version = version
            try:
                self._context = await asyncio.to_thread(self._load)
                log.info("the CA file %s has changed and was read again", self._ca_file)
            except ConfigurationError as exc:
                log.error("%s; what was read before is trusted", exc)
        return self._context

    def _load(self) -> ssl.SSLContext:
        try:
            # as KServe's agent does, a CA file that is not mounted means the system's own trust
            context = ssl.create_default_context(cafile=self._ca_file if self._ca_file.exists() else None)
        except (OSError, ssl.SSLError) as exc:
            raise ConfigurationError(f"cannot read the CA file {self._ca_file}: {exc}") from exc
        context.set_alpn_protocols(["http/1.1"])
        if self._skip_verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


def _version_of(path: Path) -> _Version:
    """What changes with a file's content; Kubernetes replaces the link that leads to it."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size
