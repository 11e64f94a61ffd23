"""The rows that a detector is given of an event, and which events it is given: requests, responses, both as pairs,
verdicts of row detectors, or feedback.

Invariant: a row of a matrix is a row of the payload, in order; a pair's row is the input's beside the prediction's; a
verdict's is the p-value of the row that it judges, feedback's the error of the answer's row.
"""

from collections.abc import Container, Sequence, Set
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from wayside.detectors.kinds.protocol import Matrix
from wayside.detectors.tabular.feedback_errors import errors_of
from wayside.detectors.tabular.schema import Schema
from wayside.eventing.checked_json import BAD_VALUE, load_data, number
from wayside.eventing.errors import MalformedEvent
from wayside.eventing.event import CloudEvent
from wayside.eventing.payloads.arrays import decode, to_matrix
from wayside.eventing.payloads.messages import kind_of, message_of
from wayside.eventing.payloads.payload import Kind, Limits
from wayside.eventing.vocabulary import (
    ADVERSARIAL,
    KSERVE_FEEDBACK,
    KSERVE_OUTLIER,
    OLD_SELDON_OUTLIER,
    OUTLIER,
    REQUEST,
    RESPONSE,
    SELDON_FEEDBACK,
    SELDON_OUTLIER,
    SELDON_REQUEST,
    SELDON_RESPONSE,
    is_prediction_or_input,
)

_REQUESTS, _RESPONSES = frozenset((REQUEST, SELDON_REQUEST)), frozenset((RESPONSE, SELDON_RESPONSE))
# Others' are among them so that what holds no p-values is refused with the reason, and not passed over in silence.
_ROW_VERDICTS = frozenset((OUTLIER, ADVERSARIAL, SELDON_OUTLIER, KSERVE_OUTLIER, OLD_SELDON_OUTLIER))
_FEEDBACK = frozenset((SELDON_FEEDBACK, KSERVE_FEEDBACK))


class Side(StrEnum):
    """What a detector judges: inputs, predictions, inputs beside their predictions, what a row detector said of them,
    or how far predictions were from the truth."""

    REQUEST = "request"
    RESPONSE = "response"
    PAIR = "pair"
    VERDICT = "verdict"
    FEEDBACK = "feedback"

    @property
    def types(self) -> Set[str]:
        """The types of the events that it needs: KServe's and Seldon's."""
        return {
            Side.REQUEST: _REQUESTS,
            Side.RESPONSE: _RESPONSES,
            Side.PAIR: _REQUESTS | _RESPONSES,
            Side.VERDICT: _ROW_VERDICTS,
            Side.FEEDBACK: _FEEDBACK,
        }[self]

    @property
    def column(self) -> str | None:
        """The name of the only column that its rows have; None where the schema names what there is."""
        return {Side.VERDICT: "p_value", Side.FEEDBACK: "error"}.get(self)


@dataclass(frozen=True, slots=True)
class InputTypes(Container[str]):
    """Any type but those of responses, verdicts and feedback, and `own`, which is that of the detector's replies."""

    own: str | None = None

    def __contains__(self, event_type: object) -> bool:
        return isinstance(event_type, str) and event_type != self.own and kind_of(event_type) in (None, Kind.REQUEST)


def is_judged(event: CloudEvent) -> bool:
    """Whether an event of a type that a detector takes is to be judged: of requests and responses, those whose data is
    what a model took or gave; verdicts and feedback always, where they are asked for by their types."""
    return kind_of(event.type) in (Kind.VERDICT, Kind.FEEDBACK) or is_prediction_or_input(event)


def read_rows(event: CloudEvent, features: int | None = None, names: Sequence[str] | None = None) -> Matrix:
    """The rows of a request or a response, shape (rows, features), by `names` where there are some.

    Raises `MalformedEvent`.
    """
    return to_matrix(decode(message_of(event)), features, names)


def rows_of(event: CloudEvent, side: Side, schema: Schema, limits: Limits | None = None) -> Matrix:
    """The rows of one event as `schema` codes them, shape (rows, columns), values that do not fit left where they are.

    Of a verdict and of feedback the schema has one column. Raises `MalformedEvent`; a pair is put together by `beside`.
    """
    if side.column is None:
        return schema.align(decode(message_of(event), limits))
    if len(schema.columns) != 1:
        raise MalformedEvent(
            f"{side.value} has one column, {side.column!r}, the detector was fitted on {len(schema.columns)} columns"
        )
    return p_values_of(event) if side is Side.VERDICT else errors_of(event, limits)


def p_values_of(event: CloudEvent) -> Matrix:
    """What a row detector said of each row that it judged, shape (rows, 1), each from 0 to 1.

    Raises `MalformedEvent` for a verdict without p-values, as alibi-detect's servers write it.
    """
    data = load_data(event)
    if data.get("p_value") is None:
        raise MalformedEvent("verdict has no 'p_value': its rate cannot be judged; take verdicts of `wayside detect`")
    try:
        p_values = np.array([[number(p)] for p in data["p_value"]])
    except BAD_VALUE as exc:
        raise MalformedEvent(f"verdict's 'p_value' is no list of numbers: {exc}") from exc
    if not p_values.size or not ((p_values >= 0) & (p_values <= 1)).all():
        raise MalformedEvent("verdict's 'p_value' is empty, or a value is not between 0 and 1")
    return p_values


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
