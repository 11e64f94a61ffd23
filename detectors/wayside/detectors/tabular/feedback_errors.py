"""How far each row of an answer was from the truth, as feedback tells it: a model's error stream.

Source: seldon-core proto/prediction.proto (`Feedback`: request, response, reward, truth), which
KServe's users send too.
Invariant: a row's error is 0 exactly where the answer was right, and larger the further it was from it.
"""

import json
from collections.abc import Sequence
from math import isfinite
from typing import Any

import numpy as np

from wayside.detectors.kinds.protocol import Matrix
from wayside.eventing.errors import MalformedEvent
from wayside.eventing.event import CloudEvent
from wayside.eventing.payloads import json_body
from wayside.eventing.payloads.arrays import decode
from wayside.eventing.payloads.messages import message_of
from wayside.eventing.payloads.payload import Kind, Limits, Message, Protocol, Tree, flatten

_LIMITS = Limits()


def errors_of(event: CloudEvent, limits: Limits | None = None) -> Matrix:
    """The error of each row of the answer, shape (rows, 1).

    1 - reward on every row where feedback has a reward, which is then from 0 to 1. Else each prediction against its
    truth: 0 or 1 for labels (whole numbers or texts; of several values the largest is the label), the absolute error
    for other numbers. Raises `MalformedEvent` where feedback tells neither, or values that are not finite.
    """
    limits = limits or _LIMITS
    feedback = decode(message_of(event)._replace(kind=Kind.FEEDBACK, protocol=Protocol.SELDON), limits)
    rewards = [column for column in feedback.columns if column.name == "reward"]
    if rewards:
        return np.array([[_loss(reward)] for reward in rewards[0].row_values()])
    predictions = _predictions(json_body.load(event.data, limits), limits)
    truths = [_values(row) for row in feedback.row_values()]
    if len(predictions) != len(truths):
        raise MalformedEvent(f"feedback has {len(predictions)} predictions and {len(truths)} truths: give one a row")
    return np.array([[_error(row, *pair)] for row, pair in enumerate(zip(predictions, truths, strict=True))])


def _loss(reward: Any) -> float:
    if not 0 <= reward <= 1:  # NaN is in no range
        raise MalformedEvent(f"feedback's reward is {reward:g}: as an error is 1 - reward, give 0 to 1, or none")
    return 1.0 - float(reward)


def _predictions(tree: Tree, limits: Limits) -> list[list[Any]]:
    """The values of each row of the response that feedback repeats, in whatever protocol it is."""
    response = tree.get("response") if isinstance(tree, dict) else None
    if response is None:
        raise MalformedEvent("feedback has a truth, but no 'response' to hold it against: send it too, or a 'reward'")
    body = json.dumps(response).encode()
    return [_values(row) for row in decode(Message(body, Kind.RESPONSE), limits).row_values()]


def _values(row: Any) -> list[Any]:
    """The values of a row of one column or of several."""
    nested: Sequence[Any] = list(row.values()) if isinstance(row, dict) else [row]
    return flatten(nested)


def _error(row: int, prediction: Sequence[Any], truth: Sequence[Any]) -> float:
    for values, what in ((prediction, "prediction"), (truth, "truth")):
        if not values or not all(_is_value(value) for value in values):
            raise MalformedEvent(f"feedback's {what} {row} holds no value, or one that is neither text nor finite")
    if len(prediction) > 1 and (len(truth) == 1 or _is_one_hot(prediction, truth)):
        return float(_largest(prediction) != (truth[0] if len(truth) == 1 else _largest(truth)))
    if len(prediction) != len(truth):
        raise MalformedEvent(f"feedback's row {row} has {len(prediction)} predicted values, its truth {len(truth)}")
    return float(np.mean([_distance(*pair) for pair in zip(prediction, truth, strict=True)]))


def _is_value(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, int | float) and isfinite(value))


def _is_one_hot(prediction: Sequence[Any], truth: Sequence[Any]) -> bool:
    return len(prediction) == len(truth) and truth.count(1) == 1 and truth.count(0) == len(truth) - 1


def _largest(values: Sequence[Any]) -> int:
    """The label that probabilities, or scores, a label each, give."""
    if any(isinstance(value, str) for value in values):
        raise MalformedEvent("feedback's prediction has several values, and texts among them: give a label")
    return values.index(max(values))


def _distance(prediction: Any, truth: Any) -> float:
    """A float on either side is a number that was measured; whole numbers and texts are labels."""
    if isinstance(prediction, str) or isinstance(truth, str):
        return float(str(prediction) != str(truth))
    if isinstance(prediction, float) or isinstance(truth, float):
        return abs(float(prediction) - float(truth))
    return float(prediction != truth)
