"""The dashboard's rows of the payload logger: what it captures, where that waits, and what is done to it.

Invariant: every series that is read here is one that the logger exposes, with a spool and with redaction rules;
tests/monitoring runs every query against a real Prometheus.
"""

from dashboard_panels import Limits, Panel, Query, Row, Unit
from dashboard_queries import BY_SERVICE, OF_SERVICES, SERVICE, fill_share, quantile, rate

_LOGGER = "wayside_logger"
_EACH = f"{BY_SERVICE}, instance"
_ONE = f"{SERVICE} {{{{instance}}}}"
_SPOOL_ONLY = "Empty unless the logger has a --spool."
_SIDE_WORK_ONLY = "Empty unless the logger redacts or compresses."


def _rate(counter: str, more: str = "") -> str:
    """How fast one of the logger's counters grows for each service, and for each value of the label `more`."""
    return rate(f"{_LOGGER}_{counter}_total", f"{BY_SERVICE}, {more}" if more else BY_SERVICE, OF_SERVICES)


def _gauge(name: str, how: str = "sum") -> str:
    """One of the logger's gauges for each pod, over its processes."""
    return f"{how} by ({_EACH}) ({_LOGGER}_{name}{{{OF_SERVICES}}})"


def _filled(what: str, unit: str) -> str:
    return fill_share(f"{_LOGGER}_{what}_{unit}", f"{_LOGGER}_{what}_limit_{unit}", _EACH, OF_SERVICES)


CAPTURE = Row(
    "Capture",
    [
        Panel(
            "Capture",
            "off: this logger passes requests on and makes no events. A mistake in an annotation or in wayside.yaml"
            " does that, and so does a logger without a log url; its log says which when it starts.",
            Unit.COUNT,
            [Query(f"1 - {_gauge('capturing', 'min')}", _ONE)],
            Limits(red=1),
            latest=True,
            states=("on", "off"),
            width=6,
        ),
        Panel(
            "Share of traffic that is captured",
            "Two events a request are 100 %; --log-mode request or response halves it. Sampled out is what --sample"
            " leaves out on purpose. What is in neither was no event: a body that broke off, or a stream of gRPC.",
            Unit.SHARE,
            [
                Query(f"{_rate('events_captured')} / (2 * {_rate('requests')})", f"{SERVICE} captured"),
                Query(f"{_rate('events_sent')} / (2 * {_rate('requests')})", f"{SERVICE} accepted by the carrier"),
                Query(f"{_rate('requests_sampled_out')} / {_rate('requests')}", f"{SERVICE} sampled out"),
            ],
            width=6,
        ),
        Panel(
            "Events captured and sent",
            "Bodies that became events, and those that the carrier has accepted. The lines lie on each other unless"
            " the carrier is slower than the traffic: then see the queue and the spool.",
            Unit.EVENTS,
            [
                Query(rate(f"{_LOGGER}_events_captured_total", "kind", OF_SERVICES), "{{kind}}s captured"),
                Query(rate(f"{_LOGGER}_events_sent_total", "kind", OF_SERVICES), "{{kind}}s sent"),
            ],
            width=6,
        ),
        Panel(
            "Events dropped by reason",
            "Lost to monitoring; clients notice nothing. queue_full, spool_full: the carrier was away or too slow for"
            " longer than there is room. too_large: raise --max-body-bytes. capture_full: raise --capture-total."
            " refused: the carrier's log says why. shutdown: the grace was too short to flush.",
            Unit.EVENTS,
            [Query(_rate("events_dropped", "reason"), f"{SERVICE} {{{{reason}}}}")],
            Limits(red=0.001),
            width=6,
        ),
        Panel(
            "Bodies cut",
            "Over --max-body-bytes, or broken off by the client or the model server. Records show their beginning;"
            " detectors pass over them.",
            Unit.EVENTS,
            [Query(_rate("truncated_bodies"), SERVICE)],
        ),
        Panel(
            "Redacted and withheld",
            "withheld: bodies that a redaction rule could not read, sent without their data. Look at what the client"
            f" sends, or at the rule. {_SIDE_WORK_ONLY}",
            Unit.EVENTS,
            [
                Query(_rate("redacted_events"), f"{SERVICE} redacted"),
                Query(_rate("withheld_events"), f"{SERVICE} withheld"),
            ],
        ),
        Panel(
            "gRPC and HTTP/2",
            "unlogged: streams and health checks, of which no events are made. unreadable: connections that could not"
            " be read to their end; their bytes passed all the same. unserved: the model server speaks no HTTP/2.",
            Unit.REQUESTS,
            [
                Query(_rate("http2_connections"), f"{SERVICE} connections"),
                Query(_rate("http2_unlogged_calls"), f"{SERVICE} unlogged calls"),
                Query(_rate("http2_unreadable_connections"), f"{SERVICE} unreadable connections"),
                Query(_rate("http2_unserved_connections"), f"{SERVICE} unserved connections"),
            ],
        ),
    ],
)


DELIVERY = Row(
    "From the logger to the carrier",
    [
        Panel(
            "Logger queue, share in use",
            "How much of an outage of the carrier is still bearable. At 100 % events go to the spool, or are dropped"
            " where there is none: mend the carrier, or give the queue more room.",
            Unit.SHARE,
            [
                Query(_filled("queue", "bytes"), f"bytes {_ONE}"),
                Query(_filled("queue", "events"), f"events {_ONE}"),
            ],
            Limits(yellow=0.5, red=0.9),
        ),
        Panel(
            "Posts to the carrier by outcome",
            "unavailable: tried again until it works; nothing is lost while the queue or the spool has room. refused:"
            " dropped.",
            Unit.EVENTS,
            [Query(rate(f"{_LOGGER}_send_attempts_total", "outcome", OF_SERVICES), "{{outcome}}")],
        ),
        Panel(
            "Seconds a post takes",
            "Until the carrier answers. Events a second are at most --workers over these seconds: raise --workers, or"
            " --batch-events, where the queue fills.",
            Unit.SECONDS,
            [
                Query(quantile(share, f"{_LOGGER}_send_seconds", BY_SERVICE, OF_SERVICES), f"{SERVICE} p{name}")
                for share, name in ((0.5, "50"), (0.99, "99"))
            ],
            Limits(yellow=0.5, red=5),
        ),
        Panel(
            "Spool, share in use",
            "Events on disk, against --spool-limit. At 100 % the oldest of them go, or the newest, as"
            f" --spool-when-full says. {_SPOOL_ONLY}",
            Unit.SHARE,
            [Query(_filled("spool", "bytes"), _ONE)],
            Limits(yellow=0.5, red=0.8),
            width=6,
        ),
        Panel(
            "Spool, oldest event",
            f"How long it has waited: since when the carrier is away. {_SPOOL_ONLY}",
            Unit.SECONDS,
            [Query(_gauge("spool_oldest_seconds", "max"), _ONE)],
            Limits(yellow=300, red=1800),
            width=6,
        ),
        Panel(
            "Events on disk and in memory",
            "In memory is what kill -9 would cost; what is on disk outlives the process, and the pod where its volume"
            " does. On disk is empty unless the logger has a --spool.",
            Unit.COUNT,
            [Query(_gauge("memory_events"), f"{_ONE} in memory"), Query(_gauge("spool_events"), f"{_ONE} on disk")],
            width=6,
        ),
        Panel(
            "Written to the spool and sent from it",
            f"While the carrier is away events are written; once it is back they are sent. {_SPOOL_ONLY}",
            Unit.EVENTS,
            [
                Query(_rate("spool_appended_events"), f"{SERVICE} written"),
                Query(_rate("spool_sent_events"), f"{SERVICE} sent"),
            ],
            width=6,
        ),
    ],
)
