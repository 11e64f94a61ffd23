"""`several`: tests that share a level, their states side by side, and what cannot be one of them."""

from collections.abc import Mapping

import numpy as np
import pytest

from wayside.detectors.kinds.protocol import Execution, Sample, State, WindowFitContext, WindowTest
from wayside.detectors.kinds.several import Several, SeveralOptions, joined
from wayside.eventing.errors import ConfigurationError

RNG = np.random.default_rng(1)
REFERENCE = Sample.untimed(RNG.normal(size=(2000, 3)))
WINDOW = Sample.untimed(RNG.normal(size=(100, 3)))
MOVED = Sample.untimed(RNG.normal([0.0, 1.0, 0.0], size=(100, 3)))


@pytest.fixture(scope="module")
def both() -> Several:
    return Several.fit(REFERENCE, SeveralOptions("ks, cvm"), WindowFitContext(window_rows=100))


def part(p_value: float, columns: tuple[float, ...] = (), least: float = 0.0, statistic: float = 0.0) -> WindowTest:
    return WindowTest(statistic, p_value, np.array(columns), np.array(columns), least)


def test_the_window_is_judged_by_all_of_them(both: Several) -> None:
    calm, moved = both.test(WINDOW), both.test(MOVED)
    assert list(moved.parts) == ["ks", "cvm"]
    assert moved.p_value == 2 * min(each.p_value for each in moved.parts.values()) < 1e-6
    assert moved.feature_p_value.argmin() == 1
    assert calm.p_value > 0.01
    assert both.features == 3


def test_two_samples_are_compared_by_all_of_them(both: Several) -> None:
    assert both.compare(WINDOW, MOVED).p_value < 1e-4
    assert both.compare(WINDOW, WINDOW).p_value == 1.0


def test_states_lie_side_by_side(both: Several) -> None:
    state = both.state()
    again = Several.restore(state, Execution())
    assert {"ks:values", "cvm:values"} < set(state.arrays)
    assert again.test(MOVED).feature_p_value.tobytes() == both.test(MOVED).feature_p_value.tobytes()
    assert again.described() == both.described()
    assert [line.partition(":")[0] for line in both.described()] == ["ks", "cvm"]


@pytest.mark.parametrize(
    ("parts", "p_value", "columns", "least"),
    [
        ({"a": part(0.01), "b": part(0.2)}, 0.02, [], 0.0),
        ({"a": part(0.7), "b": part(0.8)}, 1.0, [], 0.0),
        ({"a": part(0.01, (0.01, 0.4)), "b": part(0.2)}, 0.02, [0.01, 0.4], 0.0),
        ({"a": part(0.01, (0.01, 0.4)), "b": part(0.2, (0.1, 0.3))}, 0.02, [0.02, 0.6], 0.0),
        ({"a": part(0.0, (), 0.005), "b": part(0.2, (), 0.001)}, 0.01, [], 0.002),
    ],
    ids=["smallest", "at most one", "one view", "two views", "least"],
)
def test_outcomes_are_joined(
    parts: Mapping[str, WindowTest], p_value: float, columns: list[float], least: float
) -> None:
    outcome = joined(parts)
    assert outcome.p_value == pytest.approx(p_value)
    assert outcome.feature_p_value.tolist() == pytest.approx(columns)
    assert outcome.least_p_value == pytest.approx(least)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("ks", "name 2 to 8 kinds"),
        ("ks,ks", "kinds that differ"),
        ("ks,several", "several cannot be one of its own tests"),
        ("ks,mahalanobis", "no detector kind 'mahalanobis'"),
    ],
    ids=["one", "twice", "itself", "rows"],
)
def test_what_it_cannot_be_made_of_it_refuses(names: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Several.fit(REFERENCE, SeveralOptions(names), WindowFitContext())


@pytest.mark.parametrize("names", [b"ks,unknown", b"ks", b"\xff"], ids=["unknown", "one", "no text"])
def test_a_state_of_other_tests_is_refused(both: Several, names: bytes) -> None:
    arrays = {**both.state().arrays, "of": np.frombuffer(names, np.uint8)}
    with pytest.raises(ValueError, match=r"tests are not known|decode"):
        Several.restore(State(arrays), Execution())
