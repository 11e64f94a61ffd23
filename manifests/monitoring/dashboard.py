"""Makes `grafana/wayside.json`, Wayside's dashboard: `python manifests/monitoring/dashboard.py [--check]`.

Invariant: the file is a function of the code beside it; an edit made in Grafana belongs there.
"""

import json
import sys
from collections.abc import Sequence
from itertools import count
from pathlib import Path

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    VariableOption,
    VariableRefresh,
    VariableSort,
)

from dashboard_logger import CAPTURE, DELIVERY
from dashboard_panels import SOURCE, build
from dashboard_path import BROKER, KAFKA, SERVING
from dashboard_results import DETECTORS, SINKS, VERDICTS
from generated import write_or_check

FILE = Path(__file__).parent / "grafana" / "wayside.json"
UID = "wayside"
ROWS = (SERVING, CAPTURE, DELIVERY, BROKER, KAFKA, DETECTORS, VERDICTS, SINKS)
# where each variable's values come from: what any verdict, of rows or of windows, sets
_SERIES = '__name__=~"wayside_false_alarm_budget|wayside_drift_level"'
_ALL = VariableOption(text="All", value="$__all")


def render() -> str:
    """The dashboard as the text of its file."""
    made = (
        builders.Dashboard("Wayside")
        .uid(UID)
        .description("Model inference beside the serving path: traffic, capture, carriers, detectors, verdicts, sinks.")
        .tags(["wayside", "inference"])
        .time("now-1h", "now")
        .refresh("30s")
        .timezone("browser")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .with_variable(builders.DatasourceVariable("datasource").label("Data source").type("prometheus"))
        .with_variable(_variable("namespace", "Namespace"))
        .with_variable(_variable("service", "Service", 'namespace=~"$namespace"'))
        .with_variable(_variable("detector", "Detector", 'namespace=~"$namespace",service=~"$service"'))
    )
    ids = count(1)
    for row in ROWS:
        made.with_row(builders.Row(row.title).id(next(ids)))
        for panel in row.panels:
            made.with_panel(build(panel).id(next(ids)))
    return json.dumps(made.build(), cls=JSONEncoder, indent=2, sort_keys=True) + "\n"


def _variable(name: str, label: str, *among: str) -> builders.QueryVariable:
    """'All' matches series without the label too, such as a logger's that is scraped without a service's name."""
    return (
        builders.QueryVariable(name)
        .label(label)
        .datasource(SOURCE)
        .query(f"label_values({{{','.join((_SERIES, *among))}}}, {name})")
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(_ALL)
    )


def main(argv: Sequence[str]) -> int:
    """Write the file, or compare it; returns the exit status."""
    return write_or_check(FILE, render(), "manifests/monitoring/dashboard.py", argv)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
