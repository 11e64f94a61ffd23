"""How artifacts are fetched from elsewhere: how long, how often, with whose credentials.

Invariant: a fetch ends: a peer that says nothing is left after `timeout_s`, one that dribbles after the time that the
bytes take at the slowest rate, and what may pass is tried a few times.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class FetchSettings:
    """`environ` holds the credentials and endpoints of clouds and hubs, by their own names; what their libraries read
    themselves they read from the process's. `claims_at` and `models_at` are where KServe mounts: the latter is
    one model's folder whatever it is called, and so is only looked into by a process of one artifact."""

    environ: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)
    timeout_s: float = 10.0
    slowest_bytes_per_s: int = 1 << 20
    tries: int = 3
    pause_s: float = 0.2
    claims_at: Path = Path("/mnt/pvc")
    models_at: Path = Path("/mnt/models")
    is_only_artifact: bool = True

    def limit_s(self, limit_bytes: int) -> float:
        """The time that a file of so many bytes is given in one try."""
        return self.timeout_s + limit_bytes / self.slowest_bytes_per_s
