"""What every word of an inference event means: its types and extensions, who writes them and who reads them.

Source: each term names its own.
Invariant: every type and extension that `vocabulary` names has one term here; docs/events.md prints this table, and a
test holds them together.
"""

from dataclasses import dataclass

from wayside.eventing import vocabulary as words

TYPE = "type"
EXTENSION = "extension"
_KSERVE = "kserve pkg/logger"
_REQUEST_LOGGER = "seldon-core seldon-request-logger"
_ADSERVER = "seldon-core alibi-detect-server"
_EXECUTOR = "seldon-core executor/logger"
_KNATIVE = "knative/eventing"
_OURS = "Wayside"
_LOGGERS = "KServe's agent; Wayside's logger"
_LOGGER = "Wayside's logger"
_JUDGES = "Wayside's detectors"
_READERS = "detectors; sinks"
_WATCHERS = "sinks; metrics; people"
_NOBODY = "nobody here: carried as it is"


@dataclass(frozen=True, slots=True)
class Term:
    """One word: a `type`, or the name of an extension; `source` is where it is defined."""

    name: str
    kind: str
    meaning: str
    source: str
    written_by: str
    read_by: str


def _type(name: str, meaning: str, source: str, written_by: str, read_by: str) -> Term:
    return Term(name, TYPE, meaning, source, written_by, read_by)


def _extension(name: str, meaning: str, source: str, written_by: str, read_by: str) -> Term:
    return Term(name, EXTENSION, meaning, source, written_by, read_by)


TYPES = (
    _type(words.REQUEST, "the body of an inference request", _KSERVE, _LOGGERS, "detectors; sinks; pairs"),
    _type(
        words.RESPONSE,
        "the body of the answer; shares (source, id) with its request",
        _KSERVE,
        _LOGGERS,
        "detectors; sinks; pairs",
    ),
    _type(
        words.OUTLIER,
        "which rows of a request are outliers (schemas/outlier.json)",
        _OURS,
        _JUDGES,
        "detectors; sinks; metrics; pairs",
    ),
    _type(
        words.ADVERSARIAL,
        "which rows of a request are adversarial (schemas/adversarial.json)",
        _OURS,
        _JUDGES,
        "detectors; sinks; metrics; pairs",
    ),
    _type(
        words.DRIFT, "whether a window of rows drifted (schemas/drift.json)", _OURS, _JUDGES, "sinks; metrics; pairs"
    ),
    _type(
        words.ALERT_OPENED,
        "a window drifted, and no alert of its series was open (schemas/alert.json)",
        _OURS,
        _JUDGES,
        _WATCHERS,
    ),
    _type(
        words.ALERT_UPDATED,
        "an open alert is worse, or of more features (schemas/alert.json)",
        _OURS,
        _JUDGES,
        _WATCHERS,
    ),
    _type(
        words.ALERT_RESOLVED,
        "as many windows in a row were quiet as end an alert (schemas/alert.json)",
        _OURS,
        _JUDGES,
        _WATCHERS,
    ),
    _type(
        words.SELDON_REQUEST,
        "the body of an inference request",
        _EXECUTOR,
        "Seldon's executor",
        "detectors; sinks; pairs; payloads",
    ),
    _type(
        words.SELDON_RESPONSE,
        "the body of the answer",
        _EXECUTOR,
        "Seldon's executor",
        "detectors; sinks; pairs; payloads",
    ),
    _type(
        words.SELDON_FEEDBACK,
        "how good an answer was: request, response, reward, truth",
        _EXECUTOR,
        "Seldon's executor; whoever tells Wayside the truth",
        "detectors; sinks; pairs; payloads",
    ),
    _type(
        words.SELDON_OUTLIER,
        "alibi-detect's result a row",
        _ADSERVER,
        "alibi-detect-server",
        "detectors; pairs; payloads",
    ),
    _type(words.SELDON_DRIFT, "alibi-detect's result for a batch", _ADSERVER, "alibi-detect-server", "payloads"),
    _type(
        words.KSERVE_FEEDBACK,
        "feedback to a model of KServe's",
        _REQUEST_LOGGER,
        "clients",
        "detectors; sinks; pairs; payloads",
    ),
    _type(
        words.KSERVE_OUTLIER,
        "alibi-detect's result a row, beside KServe",
        _ADSERVER,
        "alibi-detect-server",
        "detectors; payloads",
    ),
    _type(
        words.KSERVE_DRIFT,
        "alibi-detect's result for a batch, beside KServe",
        _REQUEST_LOGGER,
        "alibi-detect-server",
        "payloads",
    ),
    _type(
        words.OLD_SELDON_OUTLIER,
        "alibi-detect's result a row, in CloudEvents 0.2",
        f"{_ADSERVER}, 2019",
        "alibi-detect-server before 1.2",
        "detectors; payloads",
    ),
    _type(
        "io.seldon.serving.reference.request",
        "rows that a detector takes for normal; so `.response`, and `org.kubeflow.serving.reference.*`",
        _REQUEST_LOGGER,
        "Seldon Deploy",
        "payloads",
    ),
    _type(
        "io.seldon.serving.feedback.metrics",
        "what Seldon's metrics server answers to feedback",
        "seldon-core examples/feedback",
        "alibi-detect-server",
        _NOBODY,
    ),
    _type(
        "seldon.message.pair",
        "request and response in one body, in CloudEvents 0.2",
        "seldon-core engine PredictionService",
        "Seldon's engine",
        _NOBODY,
    ),
    _type(
        "seldon.<deployment>.<namespace>.response",
        "the answer to a request that was itself a CloudEvent",
        "seldon-core executor/api/rest",
        "Seldon's executor",
        "payloads",
    ),
    _type(
        words.KAFKA_RECORD,
        "a Kafka record that is no CloudEvent",
        "eventing-kafka-broker KafkaSource",
        "KafkaSource; kafka/plain.py",
        _NOBODY,
    ),
)

EXTENSIONS = (
    _extension(words.INFERENCE_SERVICE, "the InferenceService or SeldonDeployment", _KSERVE, _LOGGERS, "everyone"),
    _extension(words.NAMESPACE, "its namespace", _KSERVE, _LOGGERS, "everyone"),
    _extension(words.COMPONENT, "predictor, transformer or explainer", _KSERVE, _LOGGERS, "everyone"),
    _extension(words.ENDPOINT, "default, canary, …; present though empty", _KSERVE, _LOGGERS, "everyone"),
    _extension(words.METADATA, "chosen request headers: JSON, a list a name", _KSERVE, _LOGGERS, "payloads"),
    _extension(words.ANNOTATIONS, "chosen annotations: JSON, a text a name", _KSERVE, _LOGGERS, _NOBODY),
    _extension(words.RECORDED_TIME, "when the event was made, RFC 3339", _KSERVE, _LOGGERS, _NOBODY),
    _extension(
        words.REQUEST_ID,
        "the client's `X-Request-Id`; in Seldon's events the puid that joins them",
        f"{_EXECUTOR}; {_OURS}",
        "Seldon's executor; Wayside's logger",
        "sinks; pairs",
    ),
    _extension(words.MODEL_ID, "the node of the graph that answered", _EXECUTOR, "Seldon's executor", "pairs"),
    _extension("protocol", "the model's protocol: seldon, tensorflow, v2", _EXECUTOR, "Seldon's executor", _NOBODY),
    _extension(words.CLIENT_EVENT_ID, "the client's own `Ce-Id`", _OURS, _LOGGER, "sinks"),
    _extension(
        words.REQUEST_TIME, "event time: when the request came", _OURS, "Wayside's logger; detectors", "everyone"
    ),
    _extension(words.SUBJECT_SOURCE, "`source` of what a verdict judges", _OURS, _JUDGES, "sinks; pairs"),
    _extension(words.SUBJECT_ID, "`id` of what a verdict judges", _OURS, _JUDGES, "sinks; pairs"),
    _extension(words.DETECTOR, "the name of the detector that judged", _OURS, _JUDGES, "sinks; metrics"),
    _extension(words.ARTIFACT_DIGEST, "SHA-256 of its artifact, hex", _OURS, _JUDGES, "sinks"),
    _extension(
        words.PAYLOAD_PROTOCOL,
        "how the data is laid out where it does not say: v1, v2, v2-grpc, seldon, openai, detector, json",
        _OURS,
        "kafka/plain.py; whoever knows it",
        "payloads",
    ),
    _extension(
        words.INFERENCE_HEADER_LENGTH,
        "bytes of JSON before V2's binary tensors: `Inference-Header-Content-Length`",
        _OURS,
        _LOGGER,
        "payloads",
    ),
    _extension(words.CONTENT_ENCODING, "how the data is compressed", _OURS, _LOGGER, "payloads"),
    _extension(words.UPGRADED_FROM, "the CloudEvents version that an event came in", _OURS, "every codec", "people"),
    _extension(words.REVISION, "the revision that answered", _OURS, "Wayside's logger; detectors", _READERS),
    _extension(
        words.STATUS_CODE, "the answer's HTTP status; no event of KServe's agent has it: 200", _OURS, _LOGGER, _READERS
    ),
    _extension(words.GRPC_STATUS, "the answer's `grpc-status`", _OURS, _LOGGER, _READERS),
    _extension(words.METHOD, "the request's HTTP method", _OURS, _LOGGER, _NOBODY),
    _extension(
        words.PATH,
        "the request's path, without its query",
        "seldon-core executor/api/rest",
        f"Seldon's executor; {_LOGGER}",
        _NOBODY,
    ),
    _extension(words.LATENCY_MS, "milliseconds from request to the answer's last byte", _OURS, _LOGGER, "sinks"),
    _extension(
        words.FIRST_BYTE_MS,
        "milliseconds from request to the answer's first byte behind its head",
        _OURS,
        _LOGGER,
        _NOBODY,
    ),
    _extension(
        words.TRUNCATED, "`true`: the data is the beginning of a longer or unfinished body", _OURS, _LOGGER, _READERS
    ),
    _extension(
        words.REDACTION,
        "`applied`: looked at by redaction rules; `withheld`: the data could not be, and is not there",
        *(_OURS, _LOGGER, _READERS),
    ),
    _extension(words.SAMPLE_RATE, "the share of requests that was captured, 0 to 1", _OURS, _LOGGER, _NOBODY),
    _extension(
        words.TRACE_PARENT,
        "W3C trace context: the request's own",
        "CloudEvents distributed tracing",
        f"Knative; {_LOGGER}",
        _NOBODY,
    ),
    _extension(words.TRACE_STATE, "the same", "CloudEvents distributed tracing", f"Knative; {_LOGGER}", _NOBODY),
    _extension(
        words.PARTITION_KEY, "what keeps events on one partition", "CloudEvents partitioning", "senders", "Kafka sink"
    ),
    _extension(
        words.KAFKA_KEY, "a record's key", "eventing-kafka-broker KafkaSource", "KafkaSource; kafka/plain.py", _NOBODY
    ),
    _extension(
        "kafkaheader<name>",
        "a record's header",
        "eventing-kafka-broker KafkaSource",
        "KafkaSource; kafka/plain.py",
        _NOBODY,
    ),
    _extension(words.TTL, "how many more replies may follow", _KNATIVE, "the broker, between its hops", "the broker"),
    _extension(
        words.ERROR_DESTINATION, "where a dead letter could not go", _KNATIVE, "the broker; Kafka source", "people"
    ),
    _extension(words.ERROR_CODE, "the last status of a dead letter", _KNATIVE, "the broker; Kafka source", "people"),
    _extension(words.ERROR_DATA, "the answer's first bytes, base64", _KNATIVE, "the broker; Kafka source", "people"),
    _extension("knativearrivaltime", "when a Knative broker took the event", _KNATIVE, "Knative", _NOBODY),
    _extension("knativehistory", "the channels that an event passed", _KNATIVE, "Knative", _NOBODY),
)

TERMS = (*TYPES, *EXTENSIONS)


def table(terms: tuple[Term, ...]) -> str:
    """Terms as the rows of a Markdown table."""
    rows = (
        f"| `{term.name}` | {term.meaning} | {term.source} | {term.written_by} | {term.read_by} |" for term in terms
    )
    return "\n".join(("| name | meaning | source | written by | read by |", "|---|---|---|---|---|", *rows))
