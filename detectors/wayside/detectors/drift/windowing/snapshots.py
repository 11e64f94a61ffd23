"""What a restart needs of one key besides the rows that are still held: numbers, as a few hundred bytes of JSON.

Invariant: a snapshot and the arrivals that it counts on give back the key as it was; other arrivals, or other settings
of windows, are refused rather than taken for it.
"""

import json
from dataclasses import asdict, dataclass
from typing import Any, Self

_VERSION = 2


@dataclass(frozen=True, slots=True)
class Snapshot:
    """`position` is that of the last arrival that was folded in. `first` is the position of row 0 of the first arrival
    held, `end` the one after its last row; `settled_end` lies between. `before` is the moment of
    the row before `first`, as `Moment` has it, if there is such a row. `spent` are positions that nobody asked for yet.
    `settings` says how windows are cut, `cuts` how far they are."""

    settings: dict[str, Any]
    cuts: dict[str, Any]
    position: int
    watermark_ns: int
    latest_ns: int
    first: int
    settled_end: int
    end: int
    windows: int
    late: int
    overflow: int
    hurried: int
    before: tuple[int, int, int | None] | None
    spent: tuple[int, ...] = ()

    def to_bytes(self) -> bytes:
        """`of_bytes` reads it."""
        return json.dumps({"version": _VERSION, **asdict(self)}, separators=(",", ":")).encode()

    @classmethod
    def of_bytes(cls, snapshot: bytes) -> Self:
        """Raises `ValueError` for what is no snapshot of this version."""
        try:
            fields = json.loads(snapshot)
            if fields.pop("version") != _VERSION:
                raise ValueError("it is of another version")
            before = None if fields["before"] is None else _three(*fields["before"])
            return cls(**{**fields, "before": before, "spent": tuple(fields["spent"])})
        except (TypeError, KeyError, AttributeError, ValueError, RecursionError) as exc:
            raise ValueError(f"no snapshot of a window key: {exc}") from exc


def _three(time_ns: int, first: int, before_ns: int | None) -> tuple[int, int, int | None]:
    return int(time_ns), int(first), None if before_ns is None else int(before_ns)
