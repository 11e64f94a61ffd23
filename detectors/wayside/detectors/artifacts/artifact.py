"""A fitted detector as a value: what it is, what it is given, how it is calibrated; known by its digest.

Invariant: the digest is SHA-256 over all that a verdict follows from (kind, schema, every array, every file, budget),
so equal digests mean equal verdicts. Provenance (when and on what it was fitted) is told beside it and changes nothing.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Self

import numpy as np

from wayside.detectors.artifacts.files import check_file_name
from wayside.detectors.drift.settings import WindowSettings
from wayside.detectors.drift.transforms.registry import describe_transform
from wayside.detectors.drift.transforms.transform import Transform
from wayside.detectors.kinds.protocol import Array, Arrays, State, Vector
from wayside.detectors.kinds.registry import STATEFUL_KINDS, WINDOW_KINDS
from wayside.detectors.tabular.preprocessing import Preprocessing
from wayside.detectors.tabular.schema import Schema, to_json
from wayside.eventing.errors import ConfigurationError
from wayside.eventing.verdict import DetectorIdentity

FORMAT, VERSION = "wayside.detector", 3
REFIT = "fit it again with 'wayside fit'"
DETECTOR, PREPROCESSING, TRANSFORM, SUMMARY = "detector", "preprocessing", "transform", "summary"
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


@dataclass(frozen=True, slots=True)
class Reference:
    """What a window detector holds windows against: how many rows, SHA-256 of them, and where the first and the last of
    their times are known, those (RFC 3339)."""

    rows: int
    digest: str
    from_time: str | None = None
    to_time: str | None = None

    def to_json(self) -> dict[str, Any]:
        return {"rows": self.rows, "digest": self.digest, "from": self.from_time, "to": self.to_time}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`. Raises `KeyError`, `TypeError` or `ValueError`."""
        first, last = fields["from"], fields["to"]
        if not all(each is None or isinstance(each, str) for each in (first, last)):
            raise TypeError(f"the reference's times are {first!r:.64} and {last!r:.64}")
        return cls(int(fields["rows"]), str(fields["digest"]), first, last)


@dataclass(frozen=True, slots=True, eq=False)
class Windowed:
    """What only window detectors have: how windows are cut and what they may spend, what rows are put through before
    the detector sees them, the reference, and its columns' quantiles as `ReferenceSummary` keeps them (or nothing)."""

    settings: WindowSettings
    transform: Transform
    reference: Reference
    summary: Arrays = field(default_factory=dict)

    def arrays(self) -> Arrays:
        parts = {TRANSFORM: self.transform.arrays(), SUMMARY: self.summary}
        return {f"{part}.{name}": array for part, arrays in parts.items() for name, array in arrays.items()}

    def to_json(self) -> dict[str, Any]:
        return {
            **self.settings.to_json(),
            "transform": describe_transform(self.transform),
            "reference": self.reference.to_json(),
        }


@dataclass(frozen=True, slots=True, eq=False)
class Artifact:
    """A fitted detector. `alpha` is the budget of false alarms a row; of a window, what the fit took for its level.

    `preprocessing` and `calibration` are None for window detectors, `windowed` is None for row detectors.
    `provenance` holds numbers and texts for people. `digest` is computed, never given.
    """

    kind: str
    name: str
    alpha: float
    schema: Schema
    state: State
    preprocessing: Preprocessing | None = None
    calibration: CalibrationRows | None = None
    windowed: Windowed | None = None
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

    @property
    def windows(self) -> WindowSettings | None:
        """How windows are cut and what they may spend; None for row detectors."""
        return None if self.windowed is None else self.windowed.settings

    @property
    def transform(self) -> Transform | None:
        """What rows are put through before a window detector sees them; None for row detectors."""
        return None if self.windowed is None else self.windowed.transform

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
        if self.windowed is not None:
            arrays |= self.windowed.arrays()
        return {name: little_endian(array) for name, array in sorted(arrays.items())}

    def manifest(self) -> dict[str, Any]:
        """`detector.json` without its digest and provenance."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "kind": self.kind,
            "name": self.name,
            "alpha": self.alpha,
            "windows": None if self.windowed is None else self.windowed.to_json(),
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
