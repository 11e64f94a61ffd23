"""Waits for Broker and Trigger files to change, and reads them again.

Files are looked at, not listened to: that works on every file system, and follows a mounted ConfigMap, where Kubernetes
swaps the link `..data` and no file that was opened ever changes.

Invariant: what `wait_changed` returns has loaded as a whole, from files that stood still while they were read. A file
that is gone, or broken because it is being written, changes nothing and is logged once for each reason.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from hashlib import sha256
from pathlib import Path

from wayside.eventing.errors import ConfigurationError
from wayside.eventing.triggers.destinations import Resolver
from wayside.eventing.triggers.documents import LIMIT_BYTES, manifest_files
from wayside.eventing.triggers.manifests import Manifests, load_manifests

log = logging.getLogger("wayside.broker")
Stamp = tuple[str, int, int, int, int]
Stamps = tuple[Stamp, ...]
_REMEMBERED_REASONS = 100


class ManifestWatch:
    """Watches files, and the *.yaml and *.yml of folders.

    Make the watch before the manifests are first loaded: what changes after that is seen. `sleep` waits for seconds
    between two looks, every `interval_s`.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        resolver: Resolver,
        interval_s: float,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._paths, self._resolver, self._interval_s, self._sleep = tuple(paths), resolver, interval_s, sleep
        self._examined = self._last_look = _stamps_of(self._paths)
        self._returned = _digest_of(self._paths)
        self._reasons: set[str] = set()

    async def wait_changed(self) -> Manifests:
        """The manifests, as soon as the files say something else than when this last returned, and load.

        They are read once they stood still for an interval. Where the call is cancelled nothing is lost: the next one
        finds the change.
        """
        while True:
            await self._sleep(self._interval_s)
            stamps = await asyncio.to_thread(_stamps_of, self._paths)
            if not self._stand_changed(stamps):
                continue
            digest, found = await asyncio.to_thread(self._read)
            if await asyncio.to_thread(_stamps_of, self._paths) != stamps:
                continue
            self._examined = stamps
            if isinstance(found, ConfigurationError):
                self._complain(str(found))
                continue
            self._reasons.clear()
            if found is not None:
                self._returned = digest
                return found

    def _stand_changed(self, stamps: Stamps) -> bool:
        """Whether the files are not those that were examined last, and stood still since the last look."""
        stands_still, self._last_look = stamps == self._last_look, stamps
        return stands_still and stamps != self._examined

    def _read(self) -> tuple[bytes, Manifests | ConfigurationError | None]:
        """The files' digest, and what they say: None where that is what was returned last."""
        digest = _digest_of(self._paths)
        if digest == self._returned:
            return digest, None
        try:
            return digest, load_manifests(self._paths, self._resolver)
        except ConfigurationError as exc:
            return digest, exc

    def _complain(self, reason: str) -> None:
        if reason in self._reasons:
            return
        if len(self._reasons) >= _REMEMBERED_REASONS:
            self._reasons.clear()
        self._reasons.add(reason)
        log.error("the manifests changed and cannot be loaded; the old ones stay: %s", reason)


def _stamps_of(paths: Sequence[Path]) -> Stamps:
    return tuple(_stamp(file) for path in paths for file in _files(path))


def _files(path: Path) -> Sequence[Path]:
    try:
        return manifest_files(path)
    except ConfigurationError:
        return [path]


def _stamp(file: Path) -> Stamp:
    """What tells that a file has changed: its name, when it was written, or its rights changed, its size and inode."""
    try:
        status = file.stat()
    except OSError:
        return str(file), -1, -1, -1, -1
    return str(file), status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino


def _digest_of(paths: Sequence[Path]) -> bytes:
    """A digest of every file's name and of as much of it as could be loaded."""
    digest = sha256()
    for file in (file for path in paths for file in _files(path)):
        digest.update(f"\0{file}\0".encode(errors="surrogateescape"))
        try:
            with file.open("rb") as opened:
                digest.update(sha256(opened.read(LIMIT_BYTES + 1)).digest())
        except OSError:
            digest.update(b"\0")
    return digest.digest()
