"""How much memory the second process may take, so that what it reads never costs the container that serves.

Source: cgroup v2's `memory.max` and v1's `memory.limit_in_bytes`, as a container sees its own.
Invariant: the second processes of a container together take at most half of what it may take, unless that is less than
64 MiB each; one never takes more than 768 MiB.
"""

import resource
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

CGROUP_LIMIT_FILES: Final = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
_MOST_BYTES: Final = 768 << 20
_LEAST_BYTES: Final = 64 << 20  # address space: with less the process could not read anything
_MOST_INFLATED_BYTES: Final = 32 << 20
_INFLATED_SHARE: Final = 16  # a document of small lists takes some thirty times its text; most take under ten


class MemoryBounds(NamedTuple):
    """What the second process may take: address space altogether, and one body after inflation."""

    process_bytes: int
    inflated_bytes: int


def bounds_within(limit_files: Sequence[Path] = CGROUP_LIMIT_FILES, processes: int = 1) -> MemoryBounds:
    """Bounds for each of so many second processes in one container.

    Its limit is in the first of the files that can be read; where none can, the bounds are the most there is.
    """
    limit_bytes = _limit_bytes(limit_files)
    share_bytes = _MOST_BYTES if limit_bytes is None else limit_bytes // (2 * processes)
    process_bytes = max(_LEAST_BYTES, min(_MOST_BYTES, share_bytes))
    return MemoryBounds(process_bytes, min(_MOST_INFLATED_BYTES, process_bytes // _INFLATED_SHARE))


def _limit_bytes(files: Sequence[Path]) -> int | None:
    """None where no file can be read, or where it has no number: v2 writes `max` for no limit."""
    for file in files:
        with suppress(OSError, ValueError):
            return int(file.read_text("ascii"))
    return None


def bound_this_process(process_bytes: int) -> None:
    """Beyond so much address space an allocation fails with `MemoryError`."""
    with suppress(ValueError, OSError):  # a lower limit stands already, or the system has none
        resource.setrlimit(resource.RLIMIT_AS, (process_bytes, process_bytes))


def be_first_to_go() -> None:
    """Where memory runs out all the same, the kernel is to end this process and not the one that serves."""
    with suppress(OSError):  # the system has none
        Path("/proc/self/oom_score_adj").write_text("1000", "ascii")
