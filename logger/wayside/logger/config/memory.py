"""Whether a service's or a namespace's own bounds fit into the container they are for.

Source: Linux's Documentation/admin-guide/cgroup-v2.rst: `memory.max` is a number of bytes, or `max`.
Invariant: read once, at start; where no limit can be read there is none.
"""

from pathlib import Path

from wayside.logger.settings import LoggerSettings

MEMORY_LIMIT = Path("/sys/fs/cgroup/memory.max")
BOUNDS = frozenset({"queue-bytes", "capture-total", "processes"})  # the settings that take memory
_PROCESS_BYTES = 40 << 20
_DIGITS = 20


def memory_fault(settings: LoggerSettings, limit_file: Path) -> str:
    """Why these settings cannot be kept within the container's memory; nothing where they can, or it has no limit."""
    limit = _limit_bytes(limit_file)
    needed = settings.delivery.queue_bytes + settings.capture.total_bytes + settings.processes * _PROCESS_BYTES
    if limit is None or needed <= limit:
        return ""
    return (
        f"queue-bytes, capture-total and 40Mi for each of processes are {needed} bytes together, over the container's"
        f" {limit}: lower them, or raise its memory limit"
    )


def _limit_bytes(limit_file: Path) -> int | None:
    try:
        with limit_file.open("rb") as file:
            text = file.read(_DIGITS).strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None
