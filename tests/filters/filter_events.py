"""Events and Trigger specs for the tests of filters."""

from typing import Any

from wayside.eventing.event import CloudEvent
from wayside.eventing.filters.filter import Filter
from wayside.eventing.triggers.fields import Fields, Origin
from wayside.eventing.triggers.filter_fields import read_filter
from wayside.eventing.triggers.yaml_nodes import read_nodes

EVENT = CloudEvent(
    "1",
    "/models/fraud",
    "org.example.request",
    subject="Sub",
    time="2026-01-01T00:00:00Z",
    extensions={"tier": "gold", "empty": ""},
)


def spec(text: str) -> Fields:
    """The `spec` of a Trigger, from YAML."""
    (node,) = read_nodes(text, "t.yaml")
    return Fields(node, Origin("t.yaml", "document 1"), "spec")


def read(text: str) -> Filter:
    """The filter of a `spec`, from YAML."""
    return read_filter(spec(text))


def outcome(made: Filter, event: CloudEvent = EVENT) -> tuple[bool, str]:
    """Whether it passes, and why."""
    because: Any = made.explain(event)
    return made.passes(event), because
