"""Reads a record store, beside the sink that writes it: counts, documents, rates, windows, alerts.

Invariant: reading never writes and never blocks the writer; every number is a count of keys in the store.
"""

import json
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from wayside.eventing.errors import ConfigurationError
from wayside.eventing.pairs import waiting
from wayside.eventing.pairs.subject import Role
from wayside.sinks.alerts import Alert
from wayside.sinks.document import Document
from wayside.sinks.embedded import drift_tables
from wayside.sinks.embedded.store import FAILED_BIT, FLAGGED_BIT, PART_BITS
from wayside.sinks.merging import drift_document, joined_verdicts, verdict_document
from wayside.sinks.windows import SeriesStanding, WindowRow

__all__ = ["Alert", "DetectorRate", "RecordCounts", "RecordReader", "SeriesStanding", "WindowRow"]

_REQUEST, _RESPONSE = PART_BITS[Role.REQUEST], PART_BITS[Role.RESPONSE]


@dataclass(frozen=True, slots=True)
class RecordCounts:
    """Counts of rows, but for `duplicates` and `conflicts`, which are events.

    `records` have a request or a response, `answered` a request and a prediction, `unanswered` a request without one:
    with no response, or with an error or a cut body for one. `scored` have an outlier verdict, `flagged` one that says
    so, `in_windows` a drift verdict.
    """

    records: int
    answered: int
    unanswered: int
    scored: int
    flagged: int
    in_windows: int
    duplicates: int
    conflicts: int


@dataclass(frozen=True, slots=True)
class DetectorRate:
    """How many rows one row detector scored and flagged in a stretch of time; `alpha` is the rate asked for."""

    detector: str
    alpha: float
    threshold: float
    scored: int
    flagged: int


class RecordReader:
    """Opens the store read-only. Methods are synchronous and for one thread at a time; the caller closes it."""

    def __init__(self, path: Path) -> None:
        """Raises `ConfigurationError` where there is no such store."""
        try:
            self._connection = sqlite3.connect(
                f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=10, check_same_thread=False
            )
            self._connection.execute("SELECT 1 FROM records LIMIT 1")
        except sqlite3.Error as exc:
            raise ConfigurationError(f"cannot open the record store {path}: {exc}") from exc

    def close(self) -> None:
        self._connection.close()

    def size(self) -> int:
        """How many documents the store holds: rows of which any part has come."""
        size: int = self._connection.execute("SELECT count(*) FROM records").fetchone()[0]
        return size

    def counts(self) -> RecordCounts:
        """Everything the store counts, in one pass over a small index."""
        by_parts = self._connection.execute("SELECT parts, count(*) FROM records GROUP BY parts").fetchall()
        counters = dict(self._connection.execute("SELECT name, value FROM counters"))

        def having(bits: int, without: int = 0) -> int:
            return sum(n for parts, n in by_parts if parts & bits == bits and not parts & without)

        requests, answered = having(_REQUEST), having(_REQUEST | _RESPONSE, without=FAILED_BIT)
        return RecordCounts(
            records=requests + having(_RESPONSE, without=_REQUEST),
            answered=answered,
            unanswered=requests - answered,
            scored=having(PART_BITS[Role.OUTLIER]),
            flagged=having(PART_BITS[Role.OUTLIER] | FLAGGED_BIT),
            in_windows=having(PART_BITS[Role.DRIFT]),
            duplicates=counters.get("duplicate", 0),
            conflicts=counters.get("conflict", 0),
        )

    def parts(self) -> Mapping[str, Mapping[str, int]]:
        """The parts of records by role, and by what became of them: joined, waiting, lonely, late, …"""
        return waiting.standing(self._connection).by_role()

    def flagged(self, limit: int) -> list[Document]:
        """Documents of the rows that were flagged last, the newest first by request time."""
        found = self._connection.execute(
            "SELECT DISTINCT record_id, time FROM verdicts WHERE role = 'outlier' AND decision = 1"
            " ORDER BY time DESC LIMIT ?",
            (limit,),
        ).fetchall()
        documents = (self.document(name) for name, _ in found)
        return [document for document in documents if document is not None]

    def document(self, record_id: str) -> Document | None:
        """One record as a document with its `_id`, or None where there is no such record."""
        found = self._connection.execute(
            "SELECT event_id, time, head, request, response, window_id FROM records WHERE record_id = ?", (record_id,)
        ).fetchone()
        if found is None:
            return None
        event_id, time, head, request, response, window_id = found
        document: Document = {"_id": record_id, "RequestId": event_id, "@timestamp": time}
        document |= json.loads(head) if head else {}
        document |= {name: json.loads(side) for name, side in (("request", request), ("response", response)) if side}
        document |= self._row_verdicts(record_id) | self._feedback(record_id)
        return document | (self._drift(window_id) if window_id else {})

    def _row_verdicts(self, record_id: str) -> Document:
        """`outlier` and `adversarial`, where the row was judged."""
        found = self._connection.execute(
            "SELECT role, decision, score, p_value, threshold, meta FROM verdicts JOIN judges USING (judge)"
            " WHERE record_id = ? ORDER BY role",
            (record_id,),
        ).fetchall()
        document: Document = {}
        for role, verdicts in groupby(found, key=lambda row: row[0]):
            parts = [
                verdict_document(role, decision, numbers, json.loads(meta)) for _, decision, *numbers, meta in verdicts
            ]
            document[role] = joined_verdicts(role, parts)
        return document

    def _feedback(self, record_id: str) -> Document:
        found = self._connection.execute("SELECT side FROM feedback WHERE record_id = ?", (record_id,)).fetchone()
        return {} if found is None else {Role.FEEDBACK.value: json.loads(found[0])}

    def _drift(self, window_id: str) -> Document:
        found = drift_tables.read_window(self._connection, window_id)
        return {} if found is None else {"drift": drift_document(found[0], json.loads(found[1]))}

    def answered_request_ids(self) -> Iterator[tuple[str, int]]:
        """(the client's request id, row) of every record that has a request and a prediction."""
        bits = _REQUEST | _RESPONSE
        return self._connection.execute(
            f"SELECT request_id, row FROM records WHERE parts & {bits | FAILED_BIT} = {bits}"
        )

    def windows(self, limit: int) -> list[WindowRow]:
        """Window verdicts, the newest first."""
        return drift_tables.read_windows(self._connection, limit)

    def rates(self, since: str | None = None, until: str | None = None) -> list[DetectorRate]:
        """What each row detector scored and flagged, over request times from `since` up to but without `until`."""
        found = self._connection.execute(
            "SELECT detector, meta, threshold, sum(n), sum(flagged) FROM (SELECT judge, count(*) AS n,"
            " sum(decision) AS flagged FROM verdicts WHERE role = 'outlier' AND decision IN (0, 1)"
            " AND time >= ? AND time < ? GROUP BY judge) JOIN judges USING (judge)"
            " GROUP BY detector ORDER BY detector",
            (since or "", until or "~"),
        )
        return [
            DetectorRate(detector, float(json.loads(meta).get("alpha", 0.0)), threshold, scored, flagged)
            for detector, meta, threshold, scored, flagged in found
        ]

    def alerts(self, limit: int) -> list[Alert]:
        """Alerts as detectors told them, the newest first, with the evidence of their last window that drifted."""
        return drift_tables.read_alerts(self._connection, limit)

    def standings(self) -> list[SeriesStanding]:
        """Every series of windows in figures: since when it is quiet, and what an any-feature rule would have said."""
        return drift_tables.read_standings(self._connection)
