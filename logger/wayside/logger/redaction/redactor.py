"""The rules applied to one event: to its headers, and to its data.

Invariant: what is returned holds nothing that a rule finds. Data that could not be read is not there at all, and the
extension `redaction` says so.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from wayside.eventing import vocabulary as words
from wayside.eventing.errors import MalformedPayload
from wayside.eventing.event import CloudEvent
from wayside.eventing.payloads.messages import message_of
from wayside.eventing.payloads.payload import Limits
from wayside.logger.redaction.bodies import BodyRedaction, NewBody
from wayside.logger.redaction.headers import NOTHING, changed_extensions
from wayside.logger.redaction.residue import Residue
from wayside.logger.redaction.rules import Rules
from wayside.logger.settings import RedactionRule

APPLIED, WITHHELD = words.REDACTION_STATES
DEFAULT_LIMITS: Final = Limits(inflated_bytes=32 << 20)


class Redactor:
    """Applies rules to events. Pure: it keeps nothing of an event.

    Raises `ConfigurationError` for a rule that cannot work. `key` may be empty where no rule hashes.
    """

    def __init__(self, rules: Sequence[RedactionRule], key: bytes = b"", limits: Limits = DEFAULT_LIMITS) -> None:
        self._rules = Rules.of(rules)
        self._residue = Residue(key)
        self._bodies = BodyRedaction(self._rules, self._residue, limits)

    def redact(self, event: CloudEvent) -> CloudEvent:
        """The event without what the rules find; the very event where they find nothing.

        `redaction` is `applied` where something was replaced or removed, and `withheld` where the data is gone, because
        it could not be read without doubt: a part of a body, an unknown content, what two readers take for two things.
        """
        changed = changed_extensions(event, self._rules.headers, self._residue)
        new: NewBody | None = None
        if self._rules.bodies and event.data:
            try:
                new = self._new_body(event)
            except (MalformedPayload, RecursionError):
                return withheld(event.with_extensions(**changed))
        if new is not None:
            changed |= _how_to_read(event, new)
        if new is None and not changed:
            return event
        redacted = event.with_extensions(**changed, **{words.REDACTION: APPLIED})
        return redacted if new is None else replace(redacted, data=new.data)

    def _new_body(self, event: CloudEvent) -> NewBody | None:
        if words.TRUNCATED in event.extensions:
            raise MalformedPayload("the data is the beginning of a longer body")
        return self._bodies.replaced(message_of(event))


def _how_to_read(event: CloudEvent, new: NewBody) -> dict[str, str | None]:
    """The new data is not compressed, and its JSON may be of another length. The length that a client sent may stand
    in `metadata` too, where it does not count beside the extension."""
    changed: dict[str, str | None] = {words.CONTENT_ENCODING: None}
    if new.header_length is not None and message_of(event).header_length is not None:
        changed[words.INFERENCE_HEADER_LENGTH] = str(new.header_length)
    return changed


def withheld(event: CloudEvent) -> CloudEvent:
    """The event without its data, and marked so."""
    gone = {words.CONTENT_ENCODING: None, words.INFERENCE_HEADER_LENGTH: None}
    return replace(event.with_extensions(**gone, **{words.REDACTION: WITHHELD}), data=b"")


def bare(event: CloudEvent) -> CloudEvent:
    """The event without anything that a client sent in headers or body, for when redaction itself failed."""
    return withheld(event.with_extensions(**NOTHING))
