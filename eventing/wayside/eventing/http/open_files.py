"""How many files, sockets among them, this process may have open.

Source: getrlimit(2). systemd and most shells give a soft limit of 1 024, for the sake of programs that call select(2),
and a hard one far above it; a program that does not is expected to raise its own.
Invariant: the limit is never lowered.
"""

import resource
import sys
from contextlib import suppress


def allow_open_files(count: int) -> int:
    """Make room for `count` open files, as far as the hard limit goes. Returns how many there may be now.

    It is for a service to call once, as it starts, and to say so where it is given less than it needs.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(count, _counted(hard))
    if _counted(soft) < wanted:
        with suppress(OSError, ValueError):  # the kernel's own bound may be below the hard limit, as macOS's is
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return _counted(resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def _counted(limit: int) -> int:
    return sys.maxsize if limit == resource.RLIM_INFINITY else limit
