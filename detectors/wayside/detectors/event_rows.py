"""The rows that a detector is given of an event, and which events it is given: requests, responses, or both as pairs.

Invariant: a row of a matrix is a row of the payload, in order; a pair's row is the input's beside the prediction's.
"""

from collections.abc import Set
from enum import StrEnum

import numpy as np

from wayside.detectors.runtimes.protocol import Matrix
from wayside.eventing.errors import MalformedEvent
from wayside.eventing.event import CloudEvent
from wayside.eventing.payloads.arrays import decode, to_matrix
from wayside.eventing.payloads.messages import message_of
from wayside.eventing.vocabulary import REQUEST, RESPONSE


class Side(StrEnum):
    """What a detector judges: inputs, predictions, or inputs beside their predictions."""

    REQUEST = "request"
    RESPONSE = "response"
    PAIR = "pair"

    @property
    def types(self) -> Set[str]:
        """The types of the events that it needs."""
        return {
            Side.REQUEST: frozenset((REQUEST,)),
            Side.RESPONSE: frozenset((RESPONSE,)),
            Side.PAIR: frozenset((REQUEST, RESPONSE)),
        }[self]


def read_rows(event: CloudEvent, features: int | None = None) -> Matrix:
    """The rows of a request or a response, shape (rows, features). Raises `MalformedEvent`."""
    return to_matrix(decode(message_of(event)), features)


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
