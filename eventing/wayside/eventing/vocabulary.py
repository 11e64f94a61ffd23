"""The words of inference events: KServe's and Seldon's types and extensions, Wayside's verdicts, and what they say of
a service. What each means, and who writes and reads it, is in `terms`.

Source: kserve/kserve pkg/logger; seldon-core executor/logger, alibi-detect-server and seldon-request-logger; Knative
Eventing and eventing-kafka-broker.
Invariant: every name of a type or extension that Wayside reads or writes stands here once.
"""

from dataclasses import dataclass
from functools import lru_cache

from wayside.eventing.clock import parse_time, plain_time
from wayside.eventing.errors import MalformedEvent
from wayside.eventing.event import CloudEvent

REQUEST = "org.kubeflow.serving.inference.request"
RESPONSE = "org.kubeflow.serving.inference.response"
OUTLIER = "dev.wayside.inference.outlier"
ADVERSARIAL = "dev.wayside.inference.adversarial"
DRIFT = "dev.wayside.inference.drift"
VERDICTS = frozenset((OUTLIER, ADVERSARIAL, DRIFT))
ALERT_OPENED = "dev.wayside.alert.opened"
ALERT_UPDATED = "dev.wayside.alert.updated"
ALERT_RESOLVED = "dev.wayside.alert.resolved"
ALERTS = frozenset((ALERT_OPENED, ALERT_UPDATED, ALERT_RESOLVED))

# Types that Seldon's executor, detectors and feedback write. FEEDBACK is the one that Wayside reads and writes too.
SELDON_REQUEST = "io.seldon.serving.inference.request"
SELDON_RESPONSE = "io.seldon.serving.inference.response"
SELDON_OUTLIER = "io.seldon.serving.inference.outlier"
SELDON_DRIFT = "io.seldon.serving.inference.drift"
SELDON_FEEDBACK = "io.seldon.serving.feedback"
KSERVE_FEEDBACK = "org.kubeflow.serving.feedback"
KSERVE_OUTLIER = "org.kubeflow.serving.inference.outlier"
KSERVE_DRIFT = "org.kubeflow.serving.inference.drift"
OLD_SELDON_OUTLIER = "seldon.outlier"
FEEDBACK = SELDON_FEEDBACK

# What KafkaSource makes of a record that is no CloudEvent.
KAFKA_RECORD = "dev.knative.kafka.event"
KAFKA_KEY = "key"
PARTITION_KEY = "partitionkey"

# Extensions that KServe's logger writes.
INFERENCE_SERVICE = "inferenceservicename"
NAMESPACE = "namespace"
COMPONENT = "component"
ENDPOINT = "endpoint"
METADATA = "metadata"
ANNOTATIONS = "annotations"
RECORDED_TIME = "recordedtime"

# Extensions that Seldon's executor writes; the first is in Wayside's events too, and then the client's own.
REQUEST_ID = "requestid"
MODEL_ID = "modelid"

# Extensions of Wayside's own.
CLIENT_EVENT_ID = "clientceid"
REQUEST_TIME = "requesttime"
SUBJECT_SOURCE = "subjectsource"
SUBJECT_ID = "subjectid"
DETECTOR = "detector"
ARTIFACT_DIGEST = "artifactdigest"
PAYLOAD_PROTOCOL = "payloadprotocol"
INFERENCE_HEADER_LENGTH = "inferenceheaderlength"
CONTENT_ENCODING = "contentencoding"
REVISION = "revision"
METHOD = "method"
PATH = "path"
STATUS_CODE = "statuscode"
GRPC_STATUS = "grpcstatus"
LATENCY_MS = "latencyms"
FIRST_BYTE_MS = "firstbytems"
TRUNCATED = "truncated"
SAMPLE_RATE = "samplerate"
REDACTION = "redaction"
REDACTION_STATES = ("applied", "withheld")
UPGRADED_FROM = "upgradedfrom"

# CloudEvents' extension for distributed tracing: W3C trace context.
TRACE_PARENT = "traceparent"
TRACE_STATE = "tracestate"

# Knative Eventing.
TTL = "knativebrokerttl"
ERROR_DESTINATION = "knativeerrordest"
ERROR_CODE = "knativeerrorcode"
ERROR_DATA = "knativeerrordata"


@dataclass(frozen=True, slots=True, order=True)
class ServiceKey:
    """Which endpoint of which inference service an event speaks of: what windows and metrics are keyed by."""

    namespace: str
    service: str
    component: str
    endpoint: str

    @classmethod
    def of(cls, event: CloudEvent) -> "ServiceKey":
        """The key in an event's extensions; an extension that is absent reads as empty."""
        said = event.extensions.get
        return cls(said(NAMESPACE, ""), said(INFERENCE_SERVICE, ""), said(COMPONENT, ""), said(ENDPOINT, ""))

    def extensions(self) -> dict[str, str]:
        """The same key as extensions for an event of ours."""
        return {
            INFERENCE_SERVICE: self.service,
            NAMESPACE: self.namespace,
            COMPONENT: self.component,
            ENDPOINT: self.endpoint,
        }

    def __str__(self) -> str:
        """One line for logs and storage keys: parts separated by '/'. Two keys never share it: '/' and '%' in a part,
        which Kubernetes names cannot hold, stand as '%2F' and '%25'.
        """
        parts = (self.namespace, self.service, self.component, self.endpoint)
        return "/".join(part.replace("%", "%25").replace("/", "%2F") for part in parts)


def is_prediction_or_input(event: CloudEvent) -> bool:
    """Whether a request's or a response's data is what a model took or gave: whole, there, no error's text, and no
    verdict of ours, under whatever type it is sent."""
    said = event.extensions.get
    if ARTIFACT_DIGEST in event.extensions:
        return False
    is_error = not said(STATUS_CODE, "200").startswith("2") or said(GRPC_STATUS, "0") != "0"
    return not is_error and said(TRUNCATED) != "true" and said(REDACTION) != REDACTION_STATES[1]


def request_time(event: CloudEvent) -> str:
    """Event time: when the request arrived, on whichever event of its family, as every reader takes it.

    Raises `MalformedEvent` where the event has no time at all or one that is no timestamp.
    """
    return plain_time(_request_time(event))


def request_time_if_any(event: CloudEvent) -> str | None:
    """As `request_time`, and None where the event has no time at all: CloudEvents does not ask for one."""
    return None if _told_time(event) is None else request_time(event)


def request_time_ns(event: CloudEvent) -> int:
    """As `request_time`, in nanoseconds since the epoch."""
    return parse_time(_request_time(event))


def _request_time(event: CloudEvent) -> str:
    time = _told_time(event)
    if time is None:
        raise MalformedEvent(f"event has neither 'time' nor '{REQUEST_TIME}': send 'ce-time'")
    return time


def _told_time(event: CloudEvent) -> str | None:
    return event.extensions.get(REQUEST_TIME) or event.time


def ordering_key(event: CloudEvent) -> str:
    """What keeps events together, in order, on every carrier: the `partitionkey` extension, or else the service.

    An event of no service goes by its source. Two services never share a key.
    """
    said = event.extensions.get
    return said(PARTITION_KEY) or _service_key(said(NAMESPACE, ""), said(INFERENCE_SERVICE, "")) or event.source


@lru_cache(maxsize=1024)
def _service_key(namespace: str, service: str) -> str:
    return str(ServiceKey(namespace, service, "", "")).rstrip("/")
