"""The dashboard's rows of the way that requests and events take: serving, and the carriers.

Invariant: every series that is read here is one that a Wayside process exposes; tests/monitoring runs every query
against a real Prometheus.
"""

from dashboard_panels import Limits, Panel, Query, Row, Unit
from dashboard_queries import BY_JOB, BY_SERVICE, JOB, OF_SERVICES, SERVICE, fill_share, increase, quantile, rate

_KAFKA_ONLY = "Empty unless a process reads from Kafka."
_BROKER_ONLY = "Empty unless the embedded broker carries the events."

_TOTAL = rate("wayside_logger_responses_total", BY_SERVICE, OF_SERVICES)
_ERRORS = rate("wayside_logger_responses_total", BY_SERVICE, f'{OF_SERVICES},code=~"5.."')


def _latency(share: float, part: str) -> str:
    return quantile(share, f"wayside_logger_{part}_seconds", BY_SERVICE, OF_SERVICES)


SERVING = Row(
    "Traffic and serving",
    [
        Panel(
            "Responses by code",
            "What clients were answered through the logger. 502 and 504 are the logger's own words for a model"
            " server that cannot be reached: look at the model server first.",
            Unit.REQUESTS,
            [
                Query(
                    rate("wayside_logger_responses_total", f"{BY_SERVICE}, code", OF_SERVICES),
                    f"{SERVICE} {{{{code}}}}",
                )
            ],
            width=12,
        ),
        Panel(
            "Share of answers that are 5xx",
            "Above 1 % look at the model server's log; the logger passes answers on as they are.",
            Unit.SHARE,
            [Query(f"({_ERRORS} or 0 * {_TOTAL}) / {_TOTAL}", SERVICE)],
            Limits(yellow=0.001, red=0.01),
            width=12,
        ),
        Panel(
            "Latency",
            "From a request's arrival at the logger to the end of its response, and the model server's part of it."
            " Where the two lines part, clients are slow to send or to read, or the logger lacks CPU.",
            Unit.SECONDS,
            [
                Query(_latency(0.5, "request"), f"{SERVICE} p50 of requests"),
                Query(_latency(0.99, "request"), f"{SERVICE} p99 of requests"),
                Query(_latency(0.99, "upstream"), f"{SERVICE} p99 of the model server"),
            ],
            width=12,
        ),
        Panel(
            "Latency that the logger adds",
            "What requests spent inside the logger: all of their time, less the model server's. Above a few"
            " milliseconds the logger lacks CPU: raise its limit, or --processes.",
            Unit.SECONDS,
            [Query(_latency(0.5, "added"), f"{SERVICE} p50"), Query(_latency(0.99, "added"), f"{SERVICE} p99")],
            Limits(yellow=0.005, red=0.05),
            width=12,
        ),
    ],
)


_PER_TRIGGER = "namespace, broker, trigger"
_TRIGGER = "{{namespace}}/{{broker}} {{trigger}}"
_DEAD = increase("wayside_broker_trigger_dead_lettered_total", _PER_TRIGGER)
BROKER = Row(
    "Carrier: the embedded broker",
    [
        Panel(
            "Events that arrive, by outcome",
            "duplicate: delivered again, harmless. conflict: a known key with other bytes, kept apart. malformed:"
            f" no CloudEvent. refused: the store is full, and the sender tries again. {_BROKER_ONLY}",
            Unit.EVENTS,
            [Query(rate("wayside_broker_events_total", "outcome"), "{{outcome}}")],
        ),
        Panel(
            "Matched and delivered, by Trigger",
            f"A delivered line below its matched one is a subscriber that falls behind: see what waits. {_BROKER_ONLY}",
            Unit.EVENTS,
            [
                Query(rate("wayside_broker_trigger_matched_total", _PER_TRIGGER), f"{_TRIGGER} matched"),
                Query(rate("wayside_broker_trigger_delivered_total", _PER_TRIGGER), f"{_TRIGGER} delivered"),
            ],
        ),
        Panel(
            "Deliveries waiting, by Trigger",
            "Grows while a subscriber is away or too slow. Start it again, or run more of it where it keeps no"
            f" state. {_BROKER_ONLY}",
            Unit.COUNT,
            [Query(f"sum by ({_PER_TRIGGER}) (wayside_broker_trigger_waiting)", _TRIGGER)],
        ),
        Panel(
            "Dead letters, by Trigger",
            "Events that a subscriber refused, or did not take in all of its retries. The subscriber's log says"
            f" why; the broker keeps them with the reason. {_BROKER_ONLY}",
            Unit.COUNT,
            [Query(_DEAD, _TRIGGER)],
            Limits(red=1),
        ),
        Panel(
            "Attempts for each delivery",
            f"1 where every first try works. Above it subscribers answer 5xx or not in time. {_BROKER_ONLY}",
            Unit.COUNT,
            [
                Query(
                    f"{rate('wayside_broker_trigger_attempts_total', _PER_TRIGGER)} /"
                    f" {rate('wayside_broker_trigger_delivered_total', _PER_TRIGGER)}",
                    _TRIGGER,
                )
            ],
            Limits(yellow=1.5),
        ),
        Panel(
            "Broker store, share in use",
            "At 100 % the broker refuses events and senders wait. Find the Trigger that waits, or give the store"
            f" more room. {_BROKER_ONLY}",
            Unit.SHARE,
            [
                Query(
                    fill_share("wayside_broker_store_bytes", "wayside_broker_store_limit_bytes", "instance"),
                    "{{instance}}",
                )
            ],
            Limits(yellow=0.7, red=0.9),
        ),
        Panel(
            "Age of the oldest event that waits, by Trigger",
            "How far behind a subscriber is. Grows with the clock where one event, or all of them, cannot be delivered:"
            f" 'wayside events list' shows which. {_BROKER_ONLY}",
            Unit.SECONDS,
            [Query(f"max by ({_PER_TRIGGER}) (wayside_broker_trigger_oldest_seconds)", _TRIGGER)],
        ),
        Panel(
            "Deliveries in flight, by Trigger",
            "At its bound (32, or the Trigger's own) the subscriber is what is slow. The bound is --in-flight, or the"
            f" annotation eventing.wayside.dev/in-flight. {_BROKER_ONLY}",
            Unit.COUNT,
            [Query(f"sum by ({_PER_TRIGGER}) (wayside_broker_trigger_in_flight)", _TRIGGER)],
        ),
        Panel(
            "Events that a Trigger's filter does not let pass",
            "A Trigger that should fire and shows all of its broker's events here filters too much: 'wayside trigger"
            f" test' says why. {_BROKER_ONLY}",
            Unit.EVENTS,
            [Query(rate("wayside_broker_trigger_filtered_total", _PER_TRIGGER), _TRIGGER)],
        ),
    ],
)


KAFKA = Row(
    "Carrier: Kafka",
    [
        Panel(
            "Events read, by outcome",
            "What became of messages that were read. Dead letters lie in the topic <group>.dead-letters with the"
            f" reason. {_KAFKA_ONLY}",
            Unit.EVENTS,
            [Query(rate("wayside_source_events_total", f"{BY_JOB}, outcome"), f"{JOB} {{{{outcome}}}}")],
            width=6,
        ),
        Panel(
            "Lag, by topic",
            "Messages behind the topic's end. Steady growth: the process is too slow, run more of it (no more than"
            " the topic has partitions; a window detector stays one). The readers measure it, so that a group none of"
            f" whose members runs shows nothing. {_KAFKA_ONLY}",
            Unit.COUNT,
            [Query(f"sum by ({BY_JOB}, topic) (wayside_source_lag)", f"{JOB} {{{{topic}}}}")],
            width=6,
        ),
        Panel(
            "Retries",
            "Events that the next stage could not take at once; they are tried again and hold up their partition."
            f" Look at what the process writes to. {_KAFKA_ONLY}",
            Unit.EVENTS,
            [Query(rate("wayside_source_retries_total", BY_JOB), JOB)],
            Limits(yellow=0.1),
            width=6,
        ),
        Panel(
            "Events in flight",
            "Read and not yet accepted by the next stage; bounded. At its bound for long, the next stage is what is"
            f" slow. {_KAFKA_ONLY}",
            Unit.COUNT,
            [Query(f"sum by ({BY_JOB}) (wayside_source_in_flight)", JOB)],
            width=6,
        ),
    ],
)
