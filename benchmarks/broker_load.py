"""The broker's load: events of 1 kB over connections that are kept, by wrk, or by broker_sender.py where there is none.

Invariant: no two events of a run share an id, and a load ends early only where `enough` says so.
"""

import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from logger_load import Load, parse_wrk

DATA_BYTES = 1024
CONNECTIONS = 64
_HERE = Path(__file__).parent
_LOOK_S = 0.25


def sender() -> str:
    """Who sends, in words."""
    return "wrk" if shutil.which("wrk") else "broker_sender.py (there is no wrk: apt-get install wrk)"


def _never() -> bool:
    return False


def post(port: int, seconds: float, enough: Callable[[], bool] = _never) -> Load:
    """Post for so long, each connection as fast as it is answered. `enough` is asked all the while."""
    with subprocess.Popen(_command(port, max(1, round(seconds))), stdout=subprocess.PIPE, text=True) as sending:
        assert sending.stdout is not None
        while sending.poll() is None:
            if enough():
                sending.send_signal(signal.SIGINT)
                break
            time.sleep(_LOOK_S)
        load = parse_wrk(sending.stdout.read())
    if load.refused or load.broken:
        raise SystemExit(f"bench: {load.refused} events were refused and {load.broken} got no answer")
    return load


def _command(port: int, seconds: int) -> tuple[str, ...]:
    run, url = uuid.uuid4().hex[:12], f"http://127.0.0.1:{port}"
    if shutil.which("wrk") is None:
        flags = (str(port), str(seconds), str(CONNECTIONS), run, str(DATA_BYTES))
        return (sys.executable, str(_HERE / "broker_sender.py"), *flags)
    wrk = ("wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--timeout", "30s", "--latency")
    return (*wrk, "-s", str(_HERE / "broker_load.lua"), url, "--", run, str(DATA_BYTES))
