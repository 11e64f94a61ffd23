"""Broker and Trigger YAML from which the fuzzers start: every field, every dialect, and what YAML can do beside."""

from collections.abc import Iterator

_BROKER = "apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {name: default}\n"
_TRIGGER = (
    "---\napiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata:\n  name: t\n  annotations:\n"
    '    kafka.eventing.knative.dev/delivery.order: ordered\n    eventing.wayside.dev/in-flight: "8"\n'
    "spec:\n  broker: default\n  subscriber: {ref: {kind: Service, name: x}, uri: /p}\n"
)
_FILTERS = (
    'filter: {attributes: {type: a, tier: ""}}',
    "filters: [{exact: {type: a, source: /s}}, {prefix: {type: a}}, {suffix: {type: a}}]",
    "filters: [{all: [{exact: {id: a}}]}, {any: [{not: {exact: {id: a}}}, {cesql: 'TRUE'}]}]",
    "filters:\n  - cesql: |\n      type LIKE 'a%' AND\n      tier IN ('a', 'b')",
    "delivery: {retry: 3, timeout: PT1S, backoffPolicy: linear, backoffDelay: PT0.5S, retryAfterMax: PT9S, "
    "format: json, deadLetterSink: {uri: 'http://d/'}}",
)
_YAML = (
    b"a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n",
    b"a: &a {x: 1}\nb: {<<: *a, <<: [*a, *a]}\n",
    b"- !!str 5\n- !!int '5'\n- !!python/name:os.system\n- ! x\n",
    b'{kind: Trigger, apiVersion: eventing.knative.dev/v1, metadata: {name: "\\n"}, spec: {broker: "\\e"}}',
    b"kind: List\nitems: [null, {kind: Trigger}]\n",
    b"? [a]\n: {b: >-\n  c}\n",
    b"[[[[[[[[{a: {b: {c: ~}}}]]]]]]]]",
    b'%YAML 1.1\n---\n"\\ud800\\U00110000\\x41"\n...\n',
    b"1:59:59\n---\n0x_\n---\n.inf\n---\n2026-01-01\n",
)


def seeds() -> Iterator[bytes]:
    """Whole manifests, then pieces of YAML."""
    for part in _FILTERS:
        yield (_BROKER + _TRIGGER + f"  {part}\n").encode()
    yield from _YAML
