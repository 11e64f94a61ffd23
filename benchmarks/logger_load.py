"""The load: wrk in a closed loop over connections that are kept, and bodies of an exact length.

Source: wrk's SCRIPTING (summary and latency are in microseconds).
Invariant: a load ends early only where `enough` says so, and what it saw until then counts.
"""

import json
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_SCRIPT = Path(__file__).with_name("logger_load.lua")
_LOOK_S = 0.1


@dataclass(frozen=True, slots=True)
class Load:
    """What the clients saw. `broken` requests got no answer, `refused` ones an error; both are among no others."""

    requests: int
    elapsed_s: float
    p50_ms: float
    p99_ms: float
    refused: int = 0
    broken: int = 0

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / self.elapsed_s


def parse_wrk(text: str) -> Load:
    """The last line of what wrk printed under logger_load.lua; raises `ValueError` where it is not the script's."""
    last = text.strip().rpartition("\n")[2]
    try:
        seen = json.loads(last)
        milliseconds = (seen["p50_us"] / 1e3, seen["p99_us"] / 1e3)
        return Load(seen["requests"], seen["elapsed_us"] / 1e6, *milliseconds, seen["refused"], seen["broken"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"wrk's last line should be logger_load.lua's JSON, and is {last[:200]!r}") from error


def payload(length_bytes: int) -> bytes:
    """A V1 body of rows of four numbers, of exactly so many bytes; at least 16."""
    return _fill(length_bytes, b"[6.8, 2.8, 4.8, 1.4]")


def people(length_bytes: int) -> bytes:
    """A V1 body of objects with a field `ssn`, which a redaction rule can name; of exactly so many bytes."""
    return _fill(length_bytes, b'{"ssn": "078-05-1120", "age": 47, "income": 61250.5, "city": "Ulm"}')


def _fill(length_bytes: int, row: bytes) -> bytes:
    opening, ending = b'{"instances":[', b"]}"
    room = length_bytes - len(opening) - len(ending)
    rows = b",".join([row] * ((room + 1) // (len(row) + 1)))
    return opening + rows + b" " * (room - len(rows)) + ending


def closed_loop(
    pinned: tuple[str, ...], url: str, body: Path, connections: int, seconds: float, enough: Callable[[], bool]
) -> Load:
    """Post the file's bytes for so long, each connection as fast as it is answered. `enough` is asked all the while."""
    flags = ("-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "30s", "-s", str(_SCRIPT))
    with subprocess.Popen((*pinned, "wrk", *flags, url, "--", str(body)), stdout=subprocess.PIPE, text=True) as wrk:
        assert wrk.stdout is not None
        while wrk.poll() is None:
            if enough():
                wrk.send_signal(signal.SIGINT)
                break
            time.sleep(_LOOK_S)
        return parse_wrk(wrk.stdout.read())
