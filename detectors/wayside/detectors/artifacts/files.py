"""Where an artifact's files are read from: a folder on this machine, or what another module fetches.

Invariant: a file is read whole and never beyond the bytes that it may have; its name never leads out of the artifact.
"""

import os
import re
import stat
from itertools import islice
from pathlib import Path
from typing import Protocol

from wayside.eventing.errors import ConfigurationError

MOST_NAME_CHARACTERS = 240
MOST_NAMES = 1000
_NAME = re.compile(r"(?!.*(?:^|/)\.{1,2}(?:/|$))[A-Za-z0-9._-]+(?:/[A-Za-z0-9._-]+)*", re.ASCII)


class FileMissing(ConfigurationError):
    """The artifact has no file of this name."""


class Files(Protocol):
    """The files of one artifact. `where` names it for people."""

    where: str

    def read(self, name: str, limit_bytes: int) -> bytes:
        """All bytes of a file. Raises `FileMissing`, or `ConfigurationError` where it is longer or cannot be read."""

    def names(self) -> list[str]:
        """The relative names of what is there, as far as it can be listed: some, or none. For error messages."""


class FolderFiles(Files):
    """A folder on this machine."""

    def __init__(self, folder: Path) -> None:
        self.where = str(folder)
        self._folder = folder

    def read(self, name: str, limit_bytes: int) -> bytes:
        path = self._folder / check_file_name(name)
        try:
            with open(path, "rb", opener=_open_at_once) as file:
                found = os.fstat(file.fileno())
                if not stat.S_ISREG(found.st_mode):
                    raise ConfigurationError(f"{path} is no regular file")
                content = file.read(min(limit_bytes, found.st_size) + 1)  # as much memory is taken as is asked for
        except FileNotFoundError as exc:
            raise FileMissing(f"there is no {name} in {self.where}") from exc
        except OSError as exc:
            raise ConfigurationError(f"cannot read {path}: {exc.strerror or exc}") from exc
        if len(content) > limit_bytes:
            raise ConfigurationError(f"{path} has more than {limit_bytes} bytes")
        return content

    def names(self) -> list[str]:
        if not self._folder.is_dir():
            return []
        found = islice((path for path in self._folder.rglob("*") if path.is_file()), MOST_NAMES)
        return sorted(path.relative_to(self._folder).as_posix() for path in found)


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # a FIFO would wait for its writer


def check_file_name(name: str) -> str:
    """A relative name that leads nowhere else. Raises `ConfigurationError`."""
    if len(name) > MOST_NAME_CHARACTERS or _NAME.fullmatch(name) is None:
        raise ConfigurationError(f"{name[:64]!r} is no name of a file of an artifact")
    return name
