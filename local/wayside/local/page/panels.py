"""What each panel of the page shows, as JSON, from what the sources said.

Invariant: pure: the same readings at the same moment give the same panel. A panel whose source has a problem is
`{"problem": …}` and nothing else, so that one source never takes another's panel down.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from wayside.local.balance import Balance
from wayside.local.carriers import Carried
from wayside.local.demo.ledger import Fault, PhaseRow
from wayside.local.page.cards import Json, card, clip
from wayside.local.page.drift_panels import epoch_s, problem, service_of
from wayside.local.page.files import LedgerReading, RecordsReading
from wayside.local.page.latency import Line, Point, rates
from wayside.local.page.rates import Measured, detectors, judge, measured
from wayside.local.page.sources import DriftReading, LoggerReading, Reading
from wayside.sinks.embedded.reader import DetectorRate, RecordCounts


@dataclass(frozen=True, slots=True)
class Readings:
    """One round of all sources at the moment `now_s` (seconds since the epoch)."""

    now_s: float
    logger: Reading[LoggerReading]
    broker: Reading[Carried]
    drift: Reading[DriftReading]
    records: Reading[RecordsReading]
    ledger: Reading[LedgerReading]


# the headline


def headline(readings: Readings) -> Json:
    """The state in a word, since when, of which services, and whether the books balance."""
    return {
        "services": services(readings),
        **_alert_state(readings.records),
        "balance": balance(readings),
        "flagged": readings.records.value.counts.flagged if readings.records.value else None,
    }


def services(readings: Readings) -> list[str]:
    """The inference services that anything was heard of."""
    drift, records = readings.drift.value, readings.records.value
    names = [name for key in drift.keys if (name := service_of(key))] if drift else []
    if records:
        names += [window.service for window in records.windows]
        names += [str(document.get("Ce-Inferenceservicename", "")) for document in records.flagged]
    return [clip(name) for name in dict.fromkeys(names) if name][:8]


def _alert_state(records: Reading[RecordsReading]) -> Json:
    if records.value is None:
        return {"state": "unknown", "since": None, "problem": records.problem}
    still_open = [alert for alert in records.value.alerts if alert.is_open]
    if still_open:
        return {"state": "alert", "since": min(filter(None, (epoch_s(alert.opened) for alert in still_open)))}
    resolved = [moment for alert in records.value.alerts if (moment := epoch_s(alert.resolved)) is not None]
    return {"state": "quiet", "since": max(resolved, default=None)}


def balance(readings: Readings) -> Json:
    """The balance and what differs; 'moving' while events are on their way, then 'holds' or 'differs'."""
    missing = [reading.problem for reading in (readings.records, readings.drift) if reading.problem]
    records, drift = readings.records.value, readings.drift.value
    if records is None or drift is None:
        return {"state": "unknown", "problem": "; ".join(map(str, missing))}
    books = _books(readings, records.counts, drift)
    differences = list(books.differences())
    state = "holds" if not differences else "moving" if _is_moving(readings, books) else "differs"
    return {
        "state": state,
        "differences": differences,
        "answered": books.answered if readings.ledger.value else None,
        **{
            name: getattr(books, name)
            for name in ("recorded", "scored", "in_windows", "open", "unanswered", "late", "left_out")
        },
        **{name: getattr(books, name) for name in ("waiting", "dropped", "duplicates", "conflicts")},
    }


def _books(readings: Readings, counts: RecordCounts, drift: DriftReading) -> Balance:
    logger, broker, ledger = readings.logger.value, readings.broker.value, readings.ledger.value
    triggers = broker.triggers if broker else ()
    return Balance(
        answered=ledger.answered_rows if ledger else counts.answered,
        recorded=counts.answered,
        scored=counts.scored,
        in_windows=drift.in_windows,
        open=drift.open,
        unanswered=counts.unanswered,
        late=drift.late,
        left_out=drift.left_out,
        dropped=round(sum(logger.dropped.values())) if logger else 0,
        waiting=drift.outbox + (logger.in_flight if logger else 0) + sum(trigger.waiting for trigger in triggers),
        duplicates=counts.duplicates + (broker.duplicates if broker else 0),
        conflicts=counts.conflicts + (broker.conflicts if broker else 0),
        triggers=triggers,
    )


def _is_moving(readings: Readings, books: Balance) -> bool:
    """Whether rows may still be on their way; the sources are read one after the other, never at one instant."""
    ledger = readings.ledger.value
    last_s = ledger.through.last_s if ledger else None
    lost = books.dropped or any(trigger.dead_lettered for trigger in books.triggers)
    return bool(not lost and (books.waiting or (last_s is not None and readings.now_s - last_s < 5)))


# the demo


def demo(ledger: Reading[LedgerReading]) -> Json:
    """Phases and faults of the demo; an empty panel where none runs."""
    if ledger.value is None:
        return {"phases": [], "faults": [], "current": None}
    phases = ledger.value.phases
    current = next((phase.name for phase in phases if phase.ended is None), None)
    return {
        "phases": [_phase(p) for p in phases],
        "faults": [_fault(f) for f in ledger.value.faults],
        "current": current,
    }


def _phase(phase: PhaseRow) -> Json:
    kind_and_times = {"kind": phase.kind, "from": phase.started, "to": phase.ended}
    return {"name": phase.name, "title": phase.title, **kind_and_times}


def _fault(fault: Fault) -> Json:
    return {"t": fault.t, "what": fault.what}


# traffic and latency


def traffic(readings: Readings, points: Sequence[Point], width_s: float, recent: Point | None, recent_s: float) -> Json:
    """The logger's side of events and the rate of requests. `recent` is what came in the last `recent_s` seconds."""
    if readings.logger.value is None:
        return problem(readings.logger)
    logger = readings.logger.value
    return {
        "requests_per_s": recent.requests / recent_s if recent else None,
        "rows_per_s": recent.rows / recent_s if recent else None,
        "rates": rates(points, width_s),
        "responses": dict(logger.responses),
        "captured": sum(logger.captured.values()),
        "sent": sum(logger.sent.values()),
        "in_flight": logger.in_flight,
        "dropped": dict(logger.dropped),
        "queue": dict(logger.queue),
    }


def broker(reading: Reading[Carried]) -> Json:
    """Deliveries of each trigger."""
    if reading.value is None:
        return problem(reading)
    names = ("name", "matched", "delivered", "waiting", "dead_lettered", "attempts")
    triggers = [{name: getattr(trigger, name) for name in names} for trigger in reading.value.triggers]
    return {"triggers": triggers, "duplicates": reading.value.duplicates, "conflicts": reading.value.conflicts}


def latency(lines: Sequence[Line], source: str, width_s: float) -> Json:
    """Lines of latency in milliseconds; `source` says who measured: 'client' or 'logger'."""
    return {"source": source, "width_s": width_s, "lines": [_line(line) for line in lines]}


def _line(line: Line) -> Json:
    points = [[p.t, _ms(p.p50_s), _ms(p.p99_s), p.requests] for p in line.points if p.p50_s is not None]
    recent = line.recent and {
        "p50": _ms(line.recent.p50_s),
        "p99": _ms(line.recent.p99_s),
        "requests": line.recent.requests,
    }
    return {"name": line.name, "points": points, "recent": recent}


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 3)


# flagged rows, rates


def flagged(records: Reading[RecordsReading]) -> Json:
    """The newest flagged rows as cards."""
    if records.value is None:
        return problem(records)
    counts = records.value.counts
    cards = [card(document) for document in records.value.flagged]
    return {"cards": cards, "flagged": counts.flagged, "scored": counts.scored}


def false_alarms(
    records: Reading[RecordsReading], phases: Sequence[PhaseRow], by_phase: Sequence[Sequence[DetectorRate]]
) -> Json:
    """Each row detector's rate: asked for, and measured over the ordinary phases of a demo, else over everything."""
    if records.value is None:
        return problem(records)
    ordinary = [found for phase, found in zip(phases, by_phase, strict=True) if phase.kind == "ordinary"]
    counted = [rate for found in ordinary for rate in found] if phases else records.value.rates
    return {
        "basis": "ordinary phases" if phases else "all rows",
        "detectors": [
            {
                "detector": clip(name),
                "alpha": rate.alpha,
                "threshold": rate.threshold,
                **_share(rate.alpha, measured(counted, name)),
                "phases": [
                    {**_phase(phase), **_share(rate.alpha, measured(found, name))}
                    for phase, found in zip(phases, by_phase, strict=True)
                ],
            }
            for name, rate in detectors(records.value.rates).items()
        ],
    }


def _share(alpha: float, found: Measured) -> Json:
    interval = {"low": found.interval.low, "high": found.interval.high}
    counts = {"scored": found.scored, "flagged": found.flagged, "share": found.share}
    return {**counts, **interval, "judgement": judge(alpha, found)}
