"""The dashboard's rows of what becomes of events: detectors, verdicts, sinks.

Invariant: every series that is read here is one that a Wayside process, or `wayside fit --push-url`, exposes;
tests/monitoring runs every query against a real Prometheus.
"""

from dashboard_panels import Limits, Panel, Query, Row, Unit
from dashboard_queries import BY_JOB, BY_SERIES, BY_VERDICT, JOB, OF_VERDICTS, SERIES, WHO, increase, quantile, rate

_ELASTICSEARCH_ONLY = "Empty unless the Elasticsearch sink runs."

DETECTORS = Row(
    "Detectors, by process",
    [
        Panel(
            "Events by outcome",
            "scored is the work. ignored: events of other types, a model's errors, bodies that were cut or withheld: no"
            " harm. overloaded: more comes than can be scored, and it is delivered again. failed: an error in the"
            " detector, see its log. malformed: payloads that the detector cannot read, such as rows of another width.",
            Unit.EVENTS,
            [Query(rate("wayside_detector_events_total", f"{BY_JOB}, outcome"), f"{JOB} {{{{outcome}}}}")],
        ),
        Panel(
            "Rows scored and flagged",
            "Attempts, so an event that is delivered again counts again; verdicts that count once are below. A"
            " drift detector flags windows, not rows.",
            Unit.ROWS,
            [
                Query(rate("wayside_detector_rows_total", BY_JOB), f"{JOB} scored"),
                Query(rate("wayside_detector_rows_flagged_total", BY_JOB), f"{JOB} flagged"),
            ],
        ),
        Panel(
            "Rows a scoring call",
            "How well requests share a batch. Near 1 under high load: raise --max-wait-ms. For a drift detector:"
            " the rows of a window.",
            Unit.COUNT,
            [
                Query(quantile(0.5, "wayside_detector_batch_rows", BY_JOB), f"{JOB} p50"),
                Query(quantile(0.99, "wayside_detector_batch_rows", BY_JOB), f"{JOB} p99"),
            ],
        ),
        Panel(
            "Windows closed, by decision",
            "In each interval of the graph. Empty for row detectors, and until the first window is full.",
            Unit.COUNT,
            [Query(increase("wayside_detector_windows_total", f"{BY_JOB}, decision"), f"{JOB} {{{{decision}}}}")],
        ),
        Panel(
            "Window verdicts posted or refused",
            "In each interval of the graph. refused ones stay in the detector's journal and reach nobody: its log says"
            " why. Empty for row detectors, whose verdicts are replies.",
            Unit.COUNT,
            [Query(increase("wayside_detector_verdicts_total", f"{BY_JOB}, outcome"), f"{JOB} {{{{outcome}}}}")],
        ),
        Panel(
            "Parts without a pair",
            "Of a detector that judges pairs. lonely: its partner never came, or was an error. late: it came after"
            " that. overflow: more waited than there is room for (docs/pairs.md). 0 for other detectors.",
            Unit.EVENTS,
            [
                Query(
                    rate("wayside_detector_unpaired_total", f"{BY_JOB}, role, reason"),
                    f"{JOB} {{{{role}}}} {{{{reason}}}}",
                )
            ],
        ),
        Panel(
            "Age of the fit",
            "Since 'wayside fit --push-url' last pushed. A model that was trained anew needs detectors fitted anew."
            " Empty where fits are not pushed.",
            Unit.SECONDS,
            [
                Query(
                    'time() - max by (detector) (wayside_fit_completed_timestamp_seconds{detector=~"$detector"})',
                    "{{detector}}",
                )
            ],
            latest=True,
        ),
    ],
)


_FLAGGED = rate("wayside_rows_flagged_total", BY_VERDICT, OF_VERDICTS)
_SCORED = rate("wayside_rows_scored_total", BY_VERDICT, OF_VERDICTS)
_BUDGET = f"max by ({BY_VERDICT}) (wayside_false_alarm_budget{{{OF_VERDICTS}}})"
_OF_ROWS = f"and sum by ({BY_VERDICT}) (wayside_rows_scored_total{{{OF_VERDICTS}}})"
VERDICTS = Row(
    "Verdicts",
    [
        Panel(
            "Flagged rows against the budget",
            "The share of rows flagged, and the false alarms that were asked for. Near the budget all is well. Well"
            " above it the data has changed, or the detector was fitted on other data: look at the flagged rows.",
            Unit.SHARE,
            [Query(f"{_FLAGGED} / {_SCORED}", WHO), Query(f"{_BUDGET} {_OF_ROWS}", f"budget of {WHO}")],
            width=12,
        ),
        Panel(
            "Drift: p-value of the last window against its level",
            "A window drifts where its p-value is at or below its level, the part of the false-alarm budget that it may"
            " spend: time since the window before it earns it. Empty until a window is judged.",
            Unit.COUNT,
            [
                Query(f"min by ({BY_SERIES}) (wayside_drift_p_value{{{OF_VERDICTS}}})", SERIES),
                Query(f"max by ({BY_SERIES}) (wayside_drift_level{{{OF_VERDICTS}}})", f"level of {SERIES}"),
            ],
            width=12,
        ),
        Panel(
            "Open drift alerts",
            "From the window that drifts until so many quiet ones have followed as the detector was fitted to wait for."
            " docs/alerts.md says what to do. Empty until a window is full.",
            Unit.COUNT,
            [Query(f"max by ({BY_SERIES}) (wayside_drift_alert_open{{{OF_VERDICTS}}})", SERIES)],
            Limits(red=1),
            latest=True,
            states=("no drift", "drift"),
        ),
        Panel(
            "Drift alerts against the budget that was spent",
            "Since the sink started: alerts that opened; and, over all time, how many false ones were to be expected"
            " where nothing drifts. Many more alerts than that are not chance.",
            Unit.COUNT,
            [
                Query(
                    f'sum by ({BY_SERIES}) (wayside_drift_alerts_total{{{OF_VERDICTS},state="opened"}})',
                    f"opened by {SERIES}",
                ),
                Query(f"max by ({BY_SERIES}) (wayside_drift_budget_spent{{{OF_VERDICTS}}})", f"expected of {SERIES}"),
            ],
        ),
        Panel(
            "Windows by decision",
            "Over the time that is shown. unjudged: too few rows, or too few whole ones: their verdicts say why, and"
            " what they could have spent is kept for the next. Empty until a window is full.",
            Unit.COUNT,
            [
                Query(
                    f"sum by ({BY_SERIES}, decision) (increase(wayside_windows_total{{{OF_VERDICTS}}}[$__range]))",
                    f"{SERIES} {{{{decision}}}}",
                )
            ],
            latest=True,
        ),
        Panel(
            "Rows with a verdict",
            "Counted once each, at the sink. Compare with the rows that detectors score.",
            Unit.ROWS,
            [Query(_SCORED, WHO)],
        ),
    ],
)


SINKS = Row(
    "Sinks",
    [
        Panel(
            "Embedded records, by outcome",
            "conflict: a known key with other bytes, kept apart and in no record. malformed: refused, and so a dead"
            " letter of the carrier's. Empty unless the embedded record store runs.",
            Unit.EVENTS,
            [Query(rate("wayside_records_events_total", f"{BY_JOB}, outcome"), f"{JOB} {{{{outcome}}}}")],
        ),
        Panel(
            "Prometheus sink, by outcome",
            "counted are verdicts, once each. duplicate: delivered again. ignored: events that are no verdicts.",
            Unit.EVENTS,
            [Query(rate("wayside_prometheus_events_total", f"{BY_JOB}, outcome"), f"{JOB} {{{{outcome}}}}")],
        ),
        Panel(
            "Messages that are no CloudEvents",
            "Somebody posts to a sink's port what is not an event: look at who, in the logs of what stands before it.",
            Unit.EVENTS,
            [Query(rate("wayside_sink_malformed_total", BY_JOB), JOB)],
            Limits(yellow=0.001),
        ),
        Panel(
            "Elasticsearch, by outcome",
            f"Events by what became of them in the Elasticsearch sink. {_ELASTICSEARCH_ONLY}",
            Unit.EVENTS,
            [Query(rate("wayside_elasticsearch_events_total", f"{BY_JOB}, outcome"), f"{JOB} {{{{outcome}}}}")],
            width=6,
        ),
        Panel(
            "Elasticsearch, seconds a bulk request",
            f"Long bulks slow the carrier's delivery down: look at the cluster's load. {_ELASTICSEARCH_ONLY}",
            Unit.SECONDS,
            [Query(quantile(0.99, "wayside_elasticsearch_bulk_seconds", BY_JOB), f"{JOB} p99")],
            Limits(yellow=1, red=5),
            width=6,
        ),
        Panel(
            "Elasticsearch, retries",
            f"Bulk requests or items that were tried again: the cluster was away, or full (429). {_ELASTICSEARCH_ONLY}",
            Unit.EVENTS,
            [Query(rate("wayside_elasticsearch_retries_total", f"{BY_JOB}, reason"), f"{JOB} {{{{reason}}}}")],
            Limits(yellow=0.1),
            width=6,
        ),
        Panel(
            "Elasticsearch, events waiting",
            "Taken and not yet written; bounded, and whoever sends waits at the bound. It grows while the cluster is"
            f" away or slow. {_ELASTICSEARCH_ONLY}",
            Unit.COUNT,
            [Query(f"sum by ({BY_JOB}) (wayside_elasticsearch_waiting_events)", JOB)],
            width=6,
        ),
    ],
)
