"""What feedback says of each row: Seldon's reward and truth.

Source: seldon-core proto/prediction.proto (`Feedback`: request, response, reward, truth); the request logger's
`feedback` field.
Invariant: a reward is of the whole answer and stands on every row; a truth that has rows gives each row its own.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from wayside.eventing.clock import format_time, parse_time
from wayside.eventing.errors import MalformedEvent, MalformedPayload
from wayside.eventing.event import CloudEvent
from wayside.eventing.payloads import json_body
from wayside.eventing.payloads.payload import Limits
from wayside.eventing.payloads.protocols import seldon
from wayside.eventing.vocabulary import request_time
from wayside.sinks.document import ROWS_LIMIT, Document, json_safe

_LIMITS = Limits(rows=ROWS_LIMIT)


def feedback_sides(event: CloudEvent) -> Sequence[Document]:
    """The `feedback` of each row; of row 0 alone where nothing in the feedback says how many there are.

    Raises `MalformedEvent` for what is no feedback.
    """
    tree = json_body.load(event.data, _LIMITS)
    if not isinstance(tree, dict) or not {"reward", "truth"} & tree.keys():
        raise MalformedEvent("feedback is no JSON object with a 'reward' or a 'truth'")
    time = format_time(parse_time(event.time or request_time(event)))
    shared: Document = {"ce-time": time, "ce-source": event.source, "ce-id": event.id}
    if "reward" in tree:
        if not isinstance(tree["reward"], int | float | None):
            raise MalformedEvent("feedback's 'reward' is no number")
        shared["reward"] = json_safe(tree["reward"])
    if "truth" not in tree:
        return [shared] * max(1, _rows(tree))
    return [{**shared, "truth": json_safe(value)} for value in _truth(tree["truth"])]


def _truth(truth: Any) -> Sequence[Any]:
    """The truth row by row, or whole where it is no Seldon message of rows."""
    try:
        return seldon.read(truth, None, _LIMITS).row_values() or [truth]
    except MalformedPayload:
        return [truth]


def _rows(tree: Mapping[str, Any]) -> int:
    """How many rows the answer had, by the request or the response that the feedback repeats; 0 where it does not."""
    for name in ("response", "request"):
        try:
            return seldon.read(tree[name], None, _LIMITS).rows
        except (KeyError, MalformedPayload):
            continue
    return 0
