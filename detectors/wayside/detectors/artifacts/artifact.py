"""A fitted detector as a value: what it is, what it is given, how it is calibrated; known by its digest.

Invariant: the digest is SHA-256 over all that a verdict follows from (kind, schema, every array, every file, budget),
so equal digests mean equal verdicts. Provenance (when and on what it was fitted) is told beside it and changes nothing.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import numpy as np

from wayside.detectors.artifacts.files import check_file_name
from wayside.detectors.kinds.protocol import Array, Arrays, State, Vector
from wayside.detectors.kinds.registry import STATEFUL_KINDS, WINDOW_KINDS
from wayside.detectors.tabular.preprocessing import Preprocessing
from wayside.detectors.tabular.schema import Schema, to_json
from wayside.eventing.errors import ConfigurationError
from wayside.eventing.verdict import DetectorIdentity

FORMAT, VERSION = "wayside.detector", 2
REFIT = "fit it again with 'wayside fit'"
DETECTOR, PREPROCESSING = "detector", "preprocessing"
MADE_BY = "wayside"  # in the provenance: the version that fitted it
CALIBRATION_SCORES, FEATURE_THRESHOLDS = "calibration.scores", "calibration.features"
_NAME = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?", re.ASCII)


@dataclass(frozen=True, slots=True, eq=False)
class CalibrationRows:
    """What held-out rows said: their `scores` in rising order (n,), and each column's own threshold (columns,) where
    the kind gives feature scores."""

    scores: Vector
    feature_thresholds: Vector | None = None

    def __post_init__(self) -> None:
        if self.scores.ndim != 1 or not np.isfinite(self.scores).all() or (np.diff(self.scores) < 0).any():
            raise ValueError("the calibration scores are not finite numbers in rising order")


@dataclass(frozen=True, slots=True, eq=False)
class Artifact:
    """A fitted detector. `alpha` is the budget of false alarms a row, or a window.

    `preprocessing` and `calibration` are None for window detectors, `window` (rows) is None for row detectors.
    `provenance` holds numbers and texts for people. `digest` is computed, never given.
    """

    kind: str
    name: str
    alpha: float
    schema: Schema
    state: State
    preprocessing: Preprocessing | None = None
    calibration: CalibrationRows | None = None
    window: int | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        check_name(self.name)
        for name in self.state.files:
            check_file_name(name)
        object.__setattr__(self, "digest", digest_of(self.manifest()))

    @property
    def features(self) -> int:
        """The columns of its input."""
        return len(self.schema.columns)

    @property
    def is_window_detector(self) -> bool:
        return self.kind in WINDOW_KINDS

    def identity(self, name: str | None = None) -> DetectorIdentity:
        """Who the verdicts say has judged; `name` replaces the name it was fitted under."""
        version = str(self.provenance.get(MADE_BY, ""))
        is_online = self.kind in STATEFUL_KINDS
        return DetectorIdentity(name or self.name, self.kind, self.digest, self.alpha, is_online, version)

    def arrays(self) -> Arrays:
        """Every array of it by the name that it has on disk."""
        arrays: dict[str, Array] = {f"{DETECTOR}.{name}": array for name, array in self.state.arrays.items()}
        if self.preprocessing is not None:
            arrays |= {f"{PREPROCESSING}.{name}": array for name, array in self.preprocessing.arrays().items()}
        if self.calibration is not None:
            arrays[CALIBRATION_SCORES] = self.calibration.scores
            if self.calibration.feature_thresholds is not None:
                arrays[FEATURE_THRESHOLDS] = self.calibration.feature_thresholds
        return {name: little_endian(array) for name, array in sorted(arrays.items())}

    def manifest(self) -> dict[str, Any]:
        """`detector.json` without its digest and provenance."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "kind": self.kind,
            "name": self.name,
            "alpha": self.alpha,
            "window": self.window,
            "input": to_json(self.schema),
            "arrays": {name: describe_array(array) for name, array in self.arrays().items()},
            "files": {name: describe_file(content) for name, content in sorted(self.state.files.items())},
        }


def check_name(name: str) -> str:
    """The name, fit to travel in event sources and metric labels; raises `ConfigurationError` where it is not."""
    if _NAME.fullmatch(name) is None:
        raise ConfigurationError(f"the name {name[:64]!r} is not allowed: use a-z, 0-9 and '-', at most 63 characters")
    return name


def digest_of(manifest: Mapping[str, Any]) -> str:
    """The digest of a manifest, which holds those of arrays and files."""
    return sha256(json.dumps(manifest, separators=(",", ":"), sort_keys=True).encode()).hexdigest()


def describe_array(array: Array) -> dict[str, Any]:
    """An array as the manifest has it: its type, its shape, and the digest of its bytes in row-major order."""
    return {
        "dtype": array.dtype.str,
        "shape": list(array.shape),
        "sha256": sha256(np.ascontiguousarray(array).data).hexdigest(),
    }


def describe_file(content: bytes) -> dict[str, Any]:
    return {"bytes": len(content), "sha256": sha256(content).hexdigest()}


def little_endian(array: Array) -> Array:
    """The array as it is kept: any machine reads the same bytes."""
    return np.asarray(array, array.dtype.newbyteorder("<"))
