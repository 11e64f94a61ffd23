"""The report's two files, `report.json` and `report.html`.

Invariant: each is written whole or not at all.
"""

import json
import os
from pathlib import Path

from wayside.detectors.artifacts.folder import REPORTS
from wayside.detectors.fitting.fit import FitReport
from wayside.detectors.fitting.report.document import report_document
from wayside.detectors.fitting.report.page import report_page
from wayside.detectors.tabular.table import Table
from wayside.eventing.errors import ConfigurationError

PAGE_FILE, JSON_FILE = REPORTS


def write_report(report: FitReport, table: Table, folder: Path) -> None:
    """Write both into a folder, which is made if need be. Raises `ConfigurationError` where they cannot be written."""
    document = report_document(report, table)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write(folder / JSON_FILE, json.dumps(document, indent=2, allow_nan=False) + "\n")
        _write(folder / PAGE_FILE, report_page(report, document))
    except OSError as exc:
        raise ConfigurationError(f"cannot write the report into {folder}: {exc.strerror or exc}") from exc


def _write(path: Path, text: str) -> None:
    part = path.with_name(f".{path.name}.part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)
