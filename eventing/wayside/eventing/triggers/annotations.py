"""Reads the annotations of a Trigger that change how its events are delivered.

Source: Knative's Kafka broker for the order of delivery; the group eventing.wayside.dev is ours.
Invariant: an annotation of our group that we do not know is refused, as a misspelt setting would be; those of others
are theirs.
"""

from wayside.eventing.triggers.fields import Fields

ORDER = "kafka.eventing.knative.dev/delivery.order"
IN_FLIGHT = "eventing.wayside.dev/in-flight"
_OURS = "eventing.wayside.dev/"
_MOST_IN_FLIGHT = 1024


def check_annotations(metadata: Fields, known: tuple[str, ...] = ()) -> None:
    """Refuse any annotation of our group but the `known`. Raises `ConfigurationError`."""
    annotations = metadata.child("annotations")
    if annotations is None:
        return
    for name in annotations.names():
        if isinstance(name, str) and name.startswith(_OURS) and name not in known:
            annotations.fail_key(name, f"is not known here; known are {', '.join(known) or 'none'}")


def read_ordered(metadata: Fields) -> bool:
    """Whether the Trigger asks for its events in order. Raises `ConfigurationError`."""
    annotations = metadata.child("annotations")
    if annotations is None or not annotations.has(ORDER):
        return False
    order = annotations.text(ORDER).lower()
    if order not in ("ordered", "unordered"):
        annotations.fail(ORDER, f"must be 'ordered' or 'unordered', not {order[:64]!r}")
    return order == "ordered"


def read_in_flight(metadata: Fields) -> int | None:
    """How many deliveries at once the Trigger asks for; None where it does not say. Raises `ConfigurationError`."""
    annotations = metadata.child("annotations")
    if annotations is None or not annotations.has(IN_FLIGHT):
        return None
    text = annotations.text(IN_FLIGHT)
    number = int(text) if text.isascii() and text.isdecimal() and len(text) <= 4 else 0
    if not 1 <= number <= _MOST_IN_FLIGHT:
        annotations.fail(IN_FLIGHT, f"must be a number from 1 to {_MOST_IN_FLIGHT} in quotes, not {text[:64]!r}")
    return number
