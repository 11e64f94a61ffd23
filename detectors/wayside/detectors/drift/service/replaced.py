"""What becomes of a store whose detector is replaced: another artifact begins its own windows, of rows of its own.

Invariant: nothing of the old artifact is left that could be judged by the new one: rows were coded by the old one's
schema. They are counted as given up, whether or not they were in a window yet; whoever was told of an alert is told
that it ended, by the detector that opened it.
"""

import sqlite3
from typing import NamedTuple

from wayside.detectors.drift.alerting.alerts import Alerting
from wayside.detectors.drift.judging.series import SeriesState
from wayside.detectors.drift.service.series import Account, Kept, add_gone, kept_series, post
from wayside.detectors.drift.windowing.ordered import EARLIEST_NS
from wayside.detectors.drift.windowing.snapshots import Snapshot
from wayside.eventing import json_format
from wayside.eventing.clock import format_time
from wayside.eventing.event import CloudEvent
from wayside.eventing.verdict import DetectorIdentity

_REPLACED = "its detector was replaced"
_ENDS_ONLY = 1  # the rule by which alerts resolve: none is judged any more


class Replaced(NamedTuple):
    """What ended with an artifact: `rows` that were in no window that closed, and `alerts` that were open."""

    rows: int = 0
    alerts: int = 0


def start_over(connection: sqlite3.Connection, was: DetectorIdentity) -> Replaced:
    """Forget all series and all arrivals, and resolve the alerts of `was`, whose they are. Raises `ValueError` where
    they are of another version."""
    series = kept_series(connection)
    alerts = [event for kept in series if (event := _resolving(kept, was)) is not None]
    post(connection, [(event.id, json_format.encode(event)) for event in alerts])
    unfolded = _unfolded_rows(connection)
    accounts = [_account_of(kept, unfolded.pop(str(kept.key), 0)) for kept in series]
    accounts += [Account(keys=1, rows=rows, evicted=rows) for rows in unfolded.values()]
    for account in accounts:
        add_gone(connection, account)
    _forget_all(connection)
    return Replaced(sum(account.evicted for account in accounts), len(alerts))


def _unfolded_rows(connection: sqlite3.Connection) -> dict[str, int]:
    """By key, the rows of arrivals that are in no snapshot."""
    query = (
        "SELECT arrival.key, sum(arrival.rows) FROM arrival LEFT JOIN series ON series.key = arrival.key"
        " WHERE arrival.position > coalesce(series.position, 0) GROUP BY arrival.key"
    )
    return dict(connection.execute(query).fetchall())


def _account_of(kept: Kept, unfolded_rows: int) -> Account:
    """Of a key whose windows end here: what was open is given up."""
    at = Snapshot.of_bytes(kept.snapshot)
    done, came = int(at.cuts["done"]), at.end + unfolded_rows
    return Account(1, came + at.late + at.overflow, done, at.late, at.overflow, came - done, kept.story.windows)


def _resolving(kept: Kept, was: DetectorIdentity) -> CloudEvent | None:
    """The end of a key's alert, at its watermark."""
    standing = SeriesState.from_bytes(kept.state).alert
    if standing is None:
        return None
    watermark_ns = Snapshot.of_bytes(kept.snapshot).watermark_ns
    time = standing.alert.updated if watermark_ns == EARLIEST_NS else format_time(watermark_ns)
    return Alerting(was, _ENDS_ONLY).end(standing, time, _REPLACED).event(was)


def _forget_all(connection: sqlite3.Connection) -> None:
    """Positions go on behind the last of them."""
    last = "(SELECT coalesce(max(position), 0) FROM arrival)"
    connection.execute(f"UPDATE journal SET folded = max(folded, {last})")
    connection.execute("DELETE FROM arrival")
    connection.execute("DELETE FROM series")
