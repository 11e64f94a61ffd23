"""The rows that a detector is given of an event, and which events it is given: requests, responses, or both as pairs.

Invariant: a row of a matrix is a row of the payload, in order; a pair's row is the input's beside the prediction's.
"""

from collections.abc import Container, Sequence, Set
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from wayside.detectors.kinds.protocol import Matrix
from wayside.eventing.errors import MalformedEvent
from wayside.eventing.event import CloudEvent
from wayside.eventing.payloads.arrays import decode, to_matrix
from wayside.eventing.payloads.messages import kind_of, message_of
from wayside.eventing.payloads.payload import Kind
from wayside.eventing.vocabulary import REQUEST, RESPONSE, SELDON_REQUEST, SELDON_RESPONSE

_REQUESTS, _RESPONSES = frozenset((REQUEST, SELDON_REQUEST)), frozenset((RESPONSE, SELDON_RESPONSE))


class Side(StrEnum):
    """What a detector judges: inputs, predictions, or inputs beside their predictions."""

    REQUEST = "request"
    RESPONSE = "response"
    PAIR = "pair"

    @property
    def types(self) -> Set[str]:
        """The types of the events that it needs: KServe's and Seldon's."""
        return {Side.REQUEST: _REQUESTS, Side.RESPONSE: _RESPONSES, Side.PAIR: _REQUESTS | _RESPONSES}[self]


@dataclass(frozen=True, slots=True)
class InputTypes(Container[str]):
    """Any type but those of responses, verdicts and feedback, and `own`, which is that of the detector's replies."""

    own: str | None = None

    def __contains__(self, event_type: object) -> bool:
        return isinstance(event_type, str) and event_type != self.own and kind_of(event_type) in (None, Kind.REQUEST)


def read_rows(event: CloudEvent, features: int | None = None, names: Sequence[str] | None = None) -> Matrix:
    """The rows of a request or a response, shape (rows, features), by `names` where there are some.

    Raises `MalformedEvent`.
    """
    return to_matrix(decode(message_of(event)), features, names)


def beside(inputs: Matrix, predictions: Matrix, features: int) -> Matrix:
    """Inputs and predictions row by row, shape (rows, features). Raises `MalformedEvent` where they do not fit."""
    if len(inputs) != len(predictions):
        raise MalformedEvent(
            f"request has {len(inputs)} rows, its response {len(predictions)}: a pair needs a prediction a row"
        )
    if inputs.shape[1] + predictions.shape[1] != features:
        raise MalformedEvent(
            f"pair has {inputs.shape[1]} inputs and {predictions.shape[1]} predictions a row, the detector was fitted"
            f" on {features} features"
        )
    return np.hstack([inputs, predictions])
