"""What a series of windows carries from one to the next: its accrual, what it spent, its open alert, a memory.

Invariant: `to_bytes` and `from_bytes` are inverse to each other; equal states have equal bytes. It is small: no rows
are in it, and its memory is of the shapes that the detector names.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any, Self

import numpy as np

from wayside.detectors.drift.alerting.alerts import OpenAlert
from wayside.detectors.drift.judging.levels import Accrual
from wayside.detectors.kinds.protocol import Array, Arrays
from wayside.eventing.checked_json import BAD_VALUE, member_list, number, position, text

_NUMBER = np.dtype("<f8")


@dataclass(frozen=True, slots=True, eq=False)
class SeriesState:
    """`total` is the sum of the levels that were spent. `memory` is a sequential detector's, None of any other."""

    accrual: Accrual = field(default_factory=Accrual)
    total: float = 0.0
    alert: OpenAlert | None = None
    memory: Arrays | None = None

    def to_bytes(self) -> bytes:
        """A line of JSON, then the memory's numbers, little-endian."""
        memory = None if self.memory is None else sorted(self.memory.items())
        head = {
            "accrual": self.accrual.to_json(),
            "total": self.total,
            "alert": None if self.alert is None else self.alert.to_json(),
            "memory": None if memory is None else [[name, list(array.shape)] for name, array in memory],
        }
        line = json.dumps(head, separators=(",", ":"), allow_nan=False).encode()
        return line + b"\n" + b"".join(_bytes_of(array) for _, array in memory or ())

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """The state that gave these bytes. Raises `ValueError` for any others."""
        line, _, numbers = content.partition(b"\n")
        try:
            head = json.loads(line)
            alert, memory = head["alert"], head["memory"]
            return cls(
                Accrual.of_json(head["accrual"]),
                number(head["total"]),
                None if alert is None else OpenAlert.of_json(alert),
                _memory_of(memory, numbers),
            )
        except (*BAD_VALUE, AttributeError, RecursionError) as exc:
            raise ValueError(f"the bytes are no state of a series: {exc}") from exc


def _bytes_of(array: Array) -> bytes:
    return np.ascontiguousarray(array, _NUMBER).tobytes()


def _memory_of(shapes: Any, numbers: bytes) -> Mapping[str, Array] | None:
    flat = np.frombuffer(numbers, _NUMBER).astype(np.float64)
    memory: dict[str, Array] = {}
    at = 0
    for name, shape in shapes or ():
        size = prod(position(length) for length in member_list(shape))
        memory[text(name)] = flat[at : at + size].reshape(shape)
        at += size
    if at != len(flat):
        raise ValueError(f"its memory has {len(flat)} numbers, not {at}")
    return None if shapes is None else memory
