"""`python -m wayside.local.supervised COMMAND …`: a `wayside` command that ends when its supervisor does.

Invariant: the supervisor holds the other end of this process's standard input and never writes to it. Its end of file
means that the supervisor is gone, however it went, and is taken as SIGTERM.
"""

import os
import signal
import sys
import threading

from wayside.local.cli import main


def _watch_supervisor() -> None:
    while os.read(sys.stdin.fileno(), 1024):
        continue
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    threading.Thread(target=_watch_supervisor, name="supervisor-watch", daemon=True).start()
    sys.exit(main(sys.argv[1:], os.environ))
