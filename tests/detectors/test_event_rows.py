"""Verdicts and feedback as rows of one column."""

import json
from typing import Any

import numpy as np
import pytest

from wayside.detectors.tabular.event_rows import Side, rows_of
from wayside.detectors.tabular.schema import Schema
from wayside.eventing.errors import MalformedEvent
from wayside.eventing.event import CloudEvent
from wayside.eventing.vocabulary import (
    KSERVE_FEEDBACK,
    OUTLIER,
    REQUEST,
    SELDON_FEEDBACK,
    SELDON_OUTLIER,
)

ONE = Schema.of_width(1)


def event(data: Any, event_type: str) -> CloudEvent:
    return CloudEvent(
        id="1", source="/s", type=event_type, datacontenttype="application/json", data=json.dumps(data).encode()
    )


def message(rows: Any) -> dict:
    return {"data": {"ndarray": rows}}


def tensor(shape: list[int], values: list[float]) -> dict:
    return {"data": {"tensor": {"shape": shape, "values": values}}}


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"reward": 0.25}, [0.75]),
        ({"reward": 1}, [0.0]),
        ({"reward": 0, "request": message([[1, 2], [3, 4]])}, [1.0, 1.0]),
        ({"reward": 0.5, "truth": message([1, 2, 3])}, [0.5] * 3),
        ({"response": message([1, 2]), "truth": message([1, 3])}, [0.0, 1.0]),
        ({"response": message(["cat", "dog"]), "truth": message(["cat", "cat"])}, [0.0, 1.0]),
        ({"response": message([[0.1, 0.9], [0.8, 0.2]]), "truth": message([[1], [1]])}, [0.0, 1.0]),
        ({"response": message([[0.1, 0.9], [0.8, 0.2]]), "truth": message([[0, 1], [0, 1]])}, [0.0, 1.0]),
        ({"response": message([[1.5], [2.5]]), "truth": message([[1], [4]])}, [0.5, 1.5]),
        ({"response": message([[1.5, 2.0]]), "truth": message([[1.0, 4.0]])}, [1.25]),
        ({"response": tensor([2, 1], [1.0, 2.0]), "truth": tensor([2, 1], [1.0, 3.5])}, [0.0, 1.5]),
        ({"response": {"predictions": [1, 2]}, "truth": message([1, 1])}, [0.0, 1.0]),
        (
            {
                "response": {"outputs": [{"name": "y", "shape": [2], "datatype": "FP64", "data": [1.0, 2.0]}]},
                "truth": message([1.0, 3.0]),
            },
            [0.0, 1.0],
        ),
    ],
    ids=[
        "reward", "whole-reward", "reward-of-rows", "reward-and-truth", "labels", "texts", "probabilities", "one-hot",
        "numbers", "several-numbers", "tensors", "v1-response", "v2-response",
    ],
)  # fmt: skip
@pytest.mark.parametrize("event_type", [SELDON_FEEDBACK, KSERVE_FEEDBACK])
def test_feedback_is_read_as_errors(data: Any, expected: list[float], event_type: str) -> None:
    found = rows_of(event(data, event_type), Side.FEEDBACK, ONE)
    assert found.shape == (len(expected), 1)
    assert found[:, 0] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ({"reward": 3}, "reward is 3"),
        ({"reward": "NaN"}, "reward is nan"),
        ({"reward": "good"}, "'reward' is"),
        ({}, "neither a truth nor a reward"),
        ([1], "a list"),
        ({"truth": message([1])}, "send it too, or a 'reward'"),
        ({"response": message([1]), "truth": 3}, "neither a truth nor a reward"),
        ({"response": message([1]), "truth": message([1, 2])}, "1 predictions and 2 truths"),
        ({"response": message([[1.0, 2.0]]), "truth": message([[1.0, 2.0, 3.0]])}, "2 predicted values, its truth 3"),
        ({"response": message([None]), "truth": message([1])}, "prediction 0 holds no value"),
        ({"response": message([1.0]), "truth": message([None])}, "truth 0 holds no value"),
        ({"response": message([["a", "b"]]), "truth": message([1])}, "give a label"),
        ({"response": {"status": "down"}, "truth": message([1])}, "no inference payload"),
    ],
)
def test_feedback_that_tells_no_error_is_refused(data: Any, reason: str) -> None:
    with pytest.raises(MalformedEvent, match=reason):
        rows_of(event(data, SELDON_FEEDBACK), Side.FEEDBACK, ONE)


def test_a_verdict_is_read_as_its_p_values() -> None:
    verdict = {"data": {"is_outlier": [0, 1], "instance_score": [1.0, None], "p_value": [0.5, 0.001], "threshold": 2}}
    for event_type in (OUTLIER, SELDON_OUTLIER):
        assert rows_of(event(verdict, event_type), Side.VERDICT, ONE).tolist() == [[0.5], [0.001]]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ({"data": {"is_outlier": [0], "instance_score": [1.0]}, "meta": {}}, "has no 'p_value'"),
        ({"data": {"p_value": []}}, "is empty"),
        ({"data": {"p_value": [2.0]}}, "not between 0 and 1"),
        ({"data": {"p_value": [None]}}, "no list of numbers"),
        ({"data": {"p_value": 0.5}}, "no list of numbers"),
        ({}, "not JSON with a 'data' object"),
    ],
    ids=["alibi-detects", "empty", "out-of-range", "null", "number", "no-data"],
)
def test_a_verdict_without_p_values_is_refused(data: Any, reason: str) -> None:
    with pytest.raises(MalformedEvent, match=reason):
        rows_of(event(data, OUTLIER), Side.VERDICT, ONE)


def test_a_detector_of_many_columns_is_given_neither() -> None:
    with pytest.raises(MalformedEvent, match="feedback has one column, 'error', the detector was fitted on 4"):
        rows_of(event({"reward": 1}, SELDON_FEEDBACK), Side.FEEDBACK, Schema.of_width(4))


def test_requests_are_read_as_before() -> None:
    found = rows_of(event({"instances": [[1, 2], [3, 4]]}, REQUEST), Side.REQUEST, Schema.of_width(2))
    np.testing.assert_array_equal(found, [[1, 2], [3, 4]])


def test_every_side_says_which_events_it_takes() -> None:
    assert {side: REQUEST in side.types for side in Side} == {
        Side.REQUEST: True, Side.RESPONSE: False, Side.PAIR: True, Side.VERDICT: False, Side.FEEDBACK: False,
    }  # fmt: skip
    assert OUTLIER in Side.VERDICT.types
    assert {SELDON_FEEDBACK, KSERVE_FEEDBACK} <= Side.FEEDBACK.types
