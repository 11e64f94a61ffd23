"""The tables of window verdicts and alerts: what is written into them and what is read out.

Invariant: the order in which verdicts and alert events come shows in no table; a window stands once, by its name, and
an alert once, with all that its events said.
"""

import json
import sqlite3
from collections.abc import Sequence
from typing import Any

from wayside.sinks.alerts import Alert, AlertPart, merged_alert
from wayside.sinks.document import SERVICE_FIELDS, dump
from wayside.sinks.merging import WindowPart
from wayside.sinks.windows import SeriesStanding, WindowRow

SCHEMA = """
CREATE TABLE IF NOT EXISTS windows (
    window_id TEXT PRIMARY KEY, namespace TEXT NOT NULL, service TEXT NOT NULL, component TEXT NOT NULL,
    endpoint TEXT NOT NULL, revision TEXT NOT NULL, detector TEXT NOT NULL, first INTEGER NOT NULL,
    "end" INTEGER NOT NULL, time TEXT NOT NULL, p_value REAL, threshold REAL NOT NULL, distance REAL,
    is_drift INTEGER NOT NULL, digest TEXT NOT NULL, error TEXT, any_feature INTEGER, spent REAL, start TEXT,
    stop TEXT, meta TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS windows_time ON windows (time);
CREATE INDEX IF NOT EXISTS windows_series ON windows (
    namespace, service, component, endpoint, revision, detector, time, first, is_drift, error, any_feature, spent,
    digest
);
CREATE TABLE IF NOT EXISTS alerts (
    alert_id TEXT PRIMARY KEY, namespace TEXT NOT NULL, service TEXT NOT NULL, component TEXT NOT NULL,
    endpoint TEXT NOT NULL, revision TEXT NOT NULL, detector TEXT NOT NULL, digest TEXT NOT NULL, opened TEXT NOT NULL,
    time TEXT NOT NULL, is_open INTEGER NOT NULL, document TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS alerts_opened ON alerts (opened);
"""
_SERIES = "namespace, service, component, endpoint, revision, detector"
_WINDOW = (
    f'{_SERIES}, first, "end", time, p_value, threshold, distance, is_drift, digest, error, any_feature, spent,'
    " start, stop"
)
_OF_ALERT = f"({_SERIES}) = (a.namespace, a.service, a.component, a.endpoint, a.revision, a.detector)"
# A series' figures in one pass over an index. `since` is the last window that drifted; a series begins at ('', -1).
_STANDINGS = f"""
WITH last AS (
    SELECT {_SERIES}, max(time || printf('%020d', first)) AS drifted FROM windows WHERE is_drift GROUP BY {_SERIES}
), placed AS (
    SELECT windows.*, time || printf('%020d', first) > coalesce(drifted, '') AND error IS NULL AS is_quiet
    FROM windows LEFT JOIN last USING ({_SERIES})
)
SELECT {_SERIES}, count(*), sum(is_drift), sum(error IS NOT NULL), max(spent), count(any_feature),
    total(any_feature), sum(is_quiet), total(any_feature AND is_quiet)
FROM placed GROUP BY {_SERIES} ORDER BY {_SERIES}
"""


def store_window(connection: sqlite3.Connection, part: WindowPart) -> None:
    """Write a window under its name, which is not in the table yet."""
    row = part.row()
    names = (*row.series, row.first, row.end, row.time, row.p_value, row.threshold, row.distance, row.is_drift)
    rest = (row.digest, row.error, row.any_feature, row.spent, row.start, row.stop)
    marks = ", ".join("?" * (len(names) + len(rest) + 2))
    connection.execute(f"INSERT INTO windows VALUES ({marks})", (part.window_id, *names, *rest, part.meta))


def store_alert(connection: sqlite3.Connection, part: AlertPart) -> None:
    """Merge an alert's event with what is known of the alert."""
    found = connection.execute("SELECT document, time FROM alerts WHERE alert_id = ?", (part.alert_id,)).fetchone()
    known, time = (json.loads(found[0]), found[1]) if found else (None, "")
    document = merged_alert(known, part.document)
    service, namespace, component, endpoint = (document[name] for name in SERVICE_FIELDS)
    meta = document["meta"]
    connection.execute(
        "INSERT OR REPLACE INTO alerts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *(part.alert_id, namespace, service, component, endpoint, document["revision"]),
            *(meta["name"], meta["artifact_digest"], document["opened"], max(time, part.time)),
            *(document["resolved"] is None, dump(document)),
        ),
    )


def prune_drift(connection: sqlite3.Connection, before: str) -> None:
    """Forget windows that are old, and alerts of which nothing was heard since: open ones only with their windows."""
    connection.execute("DELETE FROM windows WHERE time < ?", (before,))
    connection.execute(
        "DELETE FROM alerts AS a WHERE time < ?"
        f" AND (NOT is_open OR NOT EXISTS (SELECT 1 FROM windows WHERE {_OF_ALERT}))",
        (before,),
    )


def read_windows(connection: sqlite3.Connection, limit: int) -> list[WindowRow]:
    """Window verdicts, the newest first."""
    found = connection.execute(f"SELECT {_WINDOW} FROM windows ORDER BY time DESC, first DESC LIMIT ?", (limit,))
    return [_window(row) for row in found]


def _window(row: Sequence[Any]) -> WindowRow:
    """SQLite knows no booleans."""
    columns = [*row]
    columns[12] = bool(columns[12])
    columns[15] = None if columns[15] is None else bool(columns[15])
    return WindowRow(*columns)


def read_alerts(connection: sqlite3.Connection, limit: int) -> list[Alert]:
    """Alerts, the newest first by when they opened."""
    found = connection.execute(
        f"SELECT document, EXISTS (SELECT 1 FROM windows WHERE {_OF_ALERT} AND windows.time > a.time"
        " AND windows.digest <> a.digest) FROM alerts AS a ORDER BY opened DESC, alert_id LIMIT ?",
        (limit,),
    )
    return [Alert.of(json.loads(document), bool(replaced)) for document, replaced in found]


def read_standings(connection: sqlite3.Connection) -> list[SeriesStanding]:
    """Every series in figures, in order."""
    return [SeriesStanding(*row[:10], *map(int, row[10:])) for row in connection.execute(_STANDINGS)]


def read_window(connection: sqlite3.Connection, window_id: str) -> tuple[WindowRow, str] | None:
    """One window, and who judged it, as JSON; None where there is no such window."""
    found = connection.execute(f"SELECT {_WINDOW}, meta FROM windows WHERE window_id = ?", (window_id,)).fetchone()
    return None if found is None else (_window(found[:-1]), found[-1])
