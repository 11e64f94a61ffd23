"""Event codecs: an event of KServe's logger from headers and back, beside the cloudevents SDK in the same run."""

import json
import timeit
from collections.abc import Callable

from cloudevents.core.bindings.http import HTTPMessage, from_binary_event, from_structured_event, to_binary_event
from cloudevents.core.formats.json import JSONFormat

from wayside.eventing import http_binding, json_format
from wayside.eventing.event import CloudEvent
from wayside.eventing.vocabulary import METADATA, RECORDED_TIME, REQUEST, ServiceKey

COLUMNS = ("event of 1 kB", "Wayside µs", "SDK µs", "ratio")
EVENT = CloudEvent(
    id="5011cc37-0749-4899-8422-f7ac39898cee",
    source="http://localhost:9081/",
    type=REQUEST,
    time="2026-11-21T10:00:00.123456789Z",
    datacontenttype="application/json",
    data=json.dumps({"instances": [[6.8, 2.8, 4.8, 1.4]] * 32}).encode(),
    extensions={
        **ServiceKey("default", "sklearn-iris", "predictor", "").extensions(),
        METADATA: '{"X-Request-Id":["7"]}',
        RECORDED_TIME: "2026-11-21T10:00:00.123456790Z",
    },
)


def best_us(call: Callable[[], object], number: int = 500, repeat: int = 9) -> float:
    """Microseconds a call, the best of several rounds: what the machine can do when nobody disturbs it."""
    call()
    return min(timeit.repeat(call, number=number, repeat=repeat)) / number * 1e6


def rows() -> list[tuple[str, ...]]:
    """What is done, microseconds by Wayside, by the SDK, and how many times the SDK takes."""
    headers, body = http_binding.encode_binary(EVENT)
    envelope = json_format.encode(EVENT)
    binary = HTTPMessage({name.decode(): value.decode() for name, value in headers}, body)
    structured = HTTPMessage({"content-type": "application/cloudevents+json"}, envelope)
    form = JSONFormat()
    theirs = from_binary_event(binary, form)
    pairs: list[tuple[str, Callable[[], object], Callable[[], object]]] = [
        (
            "HTTP binary, decode",
            lambda: http_binding.decode(headers, body),
            lambda: from_binary_event(binary, form),
        ),
        ("HTTP binary, encode", lambda: http_binding.encode_binary(EVENT), lambda: to_binary_event(theirs, form)),
        (
            "HTTP structured, decode",
            lambda: json_format.decode(envelope),
            lambda: from_structured_event(structured, form),
        ),
    ]
    measured = ((name, best_us(ours), best_us(sdk)) for name, ours, sdk in pairs)
    return [(name, f"{ours:.1f}", f"{sdk:.1f}", f"{sdk / ours:.1f}") for name, ours, sdk in measured]
