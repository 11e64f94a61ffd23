"""A disk that loses power: of what was not synchronised, any part may be on it, and any part may be missing.

Invariant: a file's bytes are certain up to its last sync; of each write after it all, nothing, or whole sectors from
its start are there, one write without regard to another. The names of a folder are certain up to the folder's last
sync; of the changes after it, the first few are there. Shared memory (`-shm`) is never on a disk.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from system_calls import strings_of

_SECTOR = 512


@dataclass
class _File:
    """`certain` holds what was synchronised, `pending` the writes and truncations since."""

    certain: bytearray = field(default_factory=bytearray)
    pending: list[tuple[int, bytes | None]] = field(default_factory=list)

    def sync(self) -> None:
        for place, written in self.pending:
            _apply(self.certain, place, written)
        self.pending.clear()

    def after_a_cut(self, source: random.Random) -> bytes:
        content = bytearray(self.certain)
        share = source.choice((0.0, 0.5, 1.0))
        for place, written in self.pending:
            if source.random() < share:
                torn = written is not None and source.random() < 0.2
                _apply(
                    content, place, written[: len(written) // 2 // _SECTOR * _SECTOR] if written and torn else written
                )
        return bytes(content)


def _apply(content: bytearray, place: int, written: bytes | None) -> None:
    if written is None:
        del content[place:]
    if len(content) < place:
        content.extend(bytes(place - len(content)))
    if written:
        content[place : place + len(written)] = written


_Change = Callable[[dict[str, _File]], None]


def _add(names: dict[str, _File], path: str, file: _File) -> None:
    names[path] = file


def _move(names: dict[str, _File], source: str, target: str | None) -> None:
    """To another name, or to none."""
    file = names.pop(source)
    if target is not None:
        names[target] = file


class Disk:
    """One folder, as a traced process leaves it call by call."""

    def __init__(self, folder: Path, files: Mapping[str, bytes]) -> None:
        """`files`: what is in it for certain before the first call."""
        self._folder = str(folder)
        self._names = {f"{folder}/{name}": _File(bytearray(content)) for name, content in files.items()}
        self._certain_names = dict(self._names)
        self._changes: list[_Change] = []

    def follow(self, call: str) -> None:
        """Do what a completed call did, where it succeeded and is of this folder."""
        name, _, rest = call.partition("(")
        result = rest.rpartition(" = ")[2]
        strings = strings_of(call) if not result.startswith("-1") else []
        paths = [text.decode() for text in strings if text.startswith(self._folder.encode())]
        if not paths:
            return
        if name in ("fsync", "fdatasync"):
            self._sync(paths[0])
        elif name == "openat":
            self._create(paths[0])
        elif name in ("rename", "unlink"):
            self._change(partial(_move, source=paths[0], target=paths[1] if name == "rename" else None))
        elif name in ("pwrite64", "ftruncate") and paths[0] in self._names:
            place = int(rest.rpartition(")")[0].rpartition(", ")[2])
            self._names[paths[0]].pending.append((place, strings[1] if name == "pwrite64" else None))

    def _sync(self, path: str) -> None:
        if path in self._names:
            self._names[path].sync()
        elif path == self._folder:
            self._certain_names = dict(self._names)
            self._changes.clear()

    def _create(self, path: str) -> None:
        if path not in self._names and path != self._folder:
            self._change(partial(_add, path=path, file=_File()))

    def _change(self, change: "_Change") -> None:
        change(self._names)
        self._changes.append(change)

    def after_a_cut(self, source: random.Random) -> Mapping[str, bytes]:
        """The files that are there when power is back, by their names."""
        names = dict(self._certain_names)
        for change in self._changes[: source.randint(0, len(self._changes))]:
            change(names)
        return {Path(path).name: file.after_a_cut(source) for path, file in names.items() if not path.endswith("-shm")}
