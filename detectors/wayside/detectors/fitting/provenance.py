"""Where an artifact comes from, for people: what fitted it, on which data, and what that came to.

Invariant: files go by their names alone; nothing here names a folder, a user, a host or a secret, and nothing of it is
part of the artifact's digest.
"""

import platform
import sys
from collections.abc import Mapping
from dataclasses import asdict, replace
from importlib import metadata
from typing import Any

from wayside.detectors.artifacts.artifact import MADE_BY
from wayside.detectors.data.tables.files import Rows
from wayside.detectors.fitting.fit import FitReport, FitSettings
from wayside.detectors.fitting.kind_options import options_of
from wayside.eventing.clock import format_time

_LIBRARIES: Mapping[str, str] = {  # modules that may have had a hand in a fit, and what they are known as
    "numpy": "numpy",
    "scipy": "scipy",
    "sklearn": "scikit-learn",
    "onnx": "onnx",
    "onnxruntime": "onnxruntime",
    "keras": "keras",
    "tensorflow": "tensorflow",
    "jax": "jax",
    "torch": "torch",
}


def with_provenance(report: FitReport, settings: FitSettings, rows: Rows, time_ns: int) -> FitReport:
    """The report of an artifact that tells where it comes from; `time_ns` is when the fit was done."""
    artifact = report.artifact
    options = asdict(options_of(artifact.kind, settings.options))
    told = {
        "fitted_at": format_time(time_ns),
        MADE_BY: metadata.version("wayside"),
        "python": platform.python_version(),
        "libraries": _versions(),
        "data": [asdict(origin) for origin in rows.origins],
        "rows_sha256": rows.table.digest(),
        "seed": settings.seed,
        "holdout": settings.holdout,
        "test_share": settings.test_share if rows.table.labels is not None else None,
        "scaling": settings.scaling,
        "options": options,
        "saved": settings.saved.name if settings.saved else None,
        **_outcome(report),
    }
    return replace(report, artifact=replace(artifact, provenance=_told(told)))


def _outcome(report: FitReport) -> Mapping[str, Any]:
    interval = report.interval
    return {
        "fitted_rows": report.fitted_rows,
        "calibration_rows": report.calibration_rows,
        "repeated_rows": None if report.interval is None else report.repeated_rows,
        "threshold": report.threshold,
        "promised_90": None if interval is None else [interval.low, interval.high],
    }


def _told(document: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if value is not None}


def _versions() -> dict[str, str]:
    """Of the libraries that this process has loaded: those that fitted are among them. A module is asked itself, for
    more than one package may bring it (onnxruntime-gpu, tensorflow-cpu)."""
    loaded = {known: sys.modules[module] for module, known in _LIBRARIES.items() if module in sys.modules}
    return {known: str(getattr(module, "__version__", "?")) for known, module in sorted(loaded.items())}
