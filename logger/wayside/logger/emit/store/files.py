"""A folder of this machine as a store.

Invariant: a name shows a whole file that is on disk, or nothing, or what it showed before: never a part.
"""

import errno
import os
from pathlib import Path

from wayside.eventing.kafka.thread import WorkThread
from wayside.eventing.sink import EventRefused, SinkUnavailable
from wayside.logger.emit.store.formats import File

_NEVER = frozenset((errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ))
_WHAT_TO_DO = {
    errno.EACCES: "let the logger's user write there",
    errno.EROFS: "mount it writable",
    errno.ENOSPC: "make room",
    errno.EDQUOT: "make room, or raise the quota",
}


class FolderWriter:
    """Writes files below `folder`, one at a time, on `thread`, which is the caller's."""

    def __init__(self, folder: Path, thread: WorkThread) -> None:
        self._folder = folder
        self._thread = thread

    async def write(self, name: str, file: File) -> None:
        """Raises `SinkUnavailable` where the folder cannot be written now, `EventRefused` for an impossible name."""
        path = self._folder / name
        try:
            await self._thread.call(lambda: _write_whole(path, file.body))
        except OSError as exc:
            raise _error(self._folder, exc) from exc


def _write_whole(path: Path, body: bytes | memoryview) -> None:
    """Into a file of another name, which takes its own once all is on disk, as does the folder's new entry."""
    _make_folder(path.parent)
    aside = path.with_name(f".{os.getpid()}-{path.name[-128:]}.part")
    try:
        with aside.open("wb") as out:
            out.write(body)
            out.flush()
            os.fsync(out.fileno())
        aside.replace(path)
    except OSError:
        aside.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _make_folder(folder: Path) -> None:
    """With all that it lies in, each entry on disk: a file is not, as long as its folder is not."""
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _error(folder: Path, exc: OSError) -> SinkUnavailable | EventRefused:
    what = _WHAT_TO_DO.get(exc.errno or 0, "")
    reason = f"cannot write below {folder}: {exc.strerror or exc}" + (f": {what}" if what else "")
    return EventRefused(reason) if exc.errno in _NEVER else SinkUnavailable(reason)
