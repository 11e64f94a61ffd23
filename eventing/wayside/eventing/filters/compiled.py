"""Joins tests of an event into one callable, so that deciding costs no more calls than there are tests.

Invariant: tests are asked in their order, and none after the one that decides.
"""

from collections.abc import Callable, Sequence

from wayside.eventing.event import CloudEvent

Test = Callable[[CloudEvent], bool]


def every(tests: Sequence[Test]) -> Test:
    """Whether all of them hold; without any, true."""
    if len(tests) == 1:
        return tests[0]
    ordered = tuple(tests)

    def test(event: CloudEvent) -> bool:
        for one in ordered:  # noqa: SIM110 - a generator would cost more than the tests
            if not one(event):
                return False
        return True

    return test


def some(tests: Sequence[Test]) -> Test:
    """Whether at least one of them holds; without any, false."""
    if len(tests) == 1:
        return tests[0]
    ordered = tuple(tests)

    def test(event: CloudEvent) -> bool:
        for one in ordered:  # noqa: SIM110 - as above
            if one(event):
                return True
        return False

    return test
