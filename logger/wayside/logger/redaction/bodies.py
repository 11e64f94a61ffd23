"""A body as it was captured, with what the rules find in it replaced: whichever protocol, whichever coding.

Source: `payloads.decode` tells bodies apart in the same way; `docs/redaction.md` has a table of what is left of each.
Invariant: the content decides what a body is read as, and what is read as nothing is refused, never passed on.
"""

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from wayside.eventing.payloads import encoding, json_body
from wayside.eventing.payloads.payload import Limits, Message
from wayside.eventing.payloads.protocols import v2_binary
from wayside.logger.redaction import binary_tail, grpc_message, json_edits, json_places, stream
from wayside.logger.redaction.residue import Residue
from wayside.logger.redaction.rules import Rules

_BINARY_MARK: Final = b'"binary_data_size"'
_BOM: Final = b"\xef\xbb\xbf"


class NewBody(NamedTuple):
    """A body after redaction, inflated, and the bytes of JSON before V2's binary tensors where it has any."""

    data: bytes
    header_length: int | None = None


@dataclass(frozen=True, slots=True)
class BodyRedaction:
    """Rules applied to bodies. `limits` bound what one may cost."""

    rules: Rules
    residue: Residue
    limits: Limits

    def replaced(self, message: Message) -> NewBody | None:
        """The new body; None where no rule found anything, and the body is to stay as it is.

        Raises `MalformedPayload` for a body that cannot be read without doubt, whose words may quote it.
        """
        body, is_grpc = message.body, _is_grpc(message)
        if not (is_grpc and body[0] <= 1):  # gRPC's frames say themselves whether they are compressed
            body = encoding.inflate(body, message.content_encoding, self.limits)
        first = body.removeprefix(_BOM).lstrip()[:8]
        if not first:
            return None
        if is_grpc and not first.startswith((b"{", b"[")):
            return _whole(grpc_message.replaced(body, message.kind, self.rules, self.residue, self.limits))
        if first.startswith(stream.STARTS):
            return _whole(stream.replaced(body, self._edited))
        if message.header_length is not None or (first.startswith(b"{") and _BINARY_MARK in body):
            return self._replaced_binary(body, message.header_length)
        return _whole(self._edited(body))

    def _edited(self, body: bytes) -> bytes | None:
        edits = self._find(json_body.load(body, self.limits))
        return json_edits.apply(body, edits) if edits else None

    def _replaced_binary(self, body: bytes, header_length: int | None) -> NewBody | None:
        head, tail = v2_binary.split(body, header_length)
        tree = json_body.load(head, self.limits)
        edits = self._find(tree)
        new = binary_tail.replaced(tree, tail, self.rules, self.residue, self.limits, edits)
        if not edits:
            return None
        head = json_edits.apply(head, edits)
        return NewBody(head + (tail if new is None else new), len(head))

    def _find(self, tree: Any) -> json_edits.Edits:
        return json_places.find(tree, self.rules, self.residue)


def _whole(data: bytes | None) -> NewBody | None:
    return None if data is None else NewBody(data)


def _is_grpc(message: Message) -> bool:
    """Whether a body is declared gRPC or protobuf, whose messages are compressed one by one, if at all."""
    media_type = (message.content_type or "").split(";", 1)[0].strip().lower()
    return media_type.startswith("application/grpc") or media_type.endswith(("/protobuf", "/x-protobuf"))
