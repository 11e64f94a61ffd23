"""A body put together from parts of any size is the body, and takes little more than its bytes."""

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wayside.eventing.http.body_parts import BodyParts

_PART = st.binary(min_size=1, max_size=50) | st.integers(1, 40_000).map(bytes)


@given(st.lists(st.lists(_PART, max_size=60), max_size=3))
def test_each_body_is_its_parts_in_order(bodies: list[list[bytes]]) -> None:
    parts = BodyParts()
    for body in bodies:
        for part in body:
            parts.add(part)
        whole = b"".join(body)
        assert parts.size == len(whole)
        taken = parts.take()
        assert (taken, type(taken), parts.size) == (whole, bytes, 0)


@pytest.mark.parametrize("sizes", [[1], [2], [1023], [1, 1024], [16 << 10]])
def test_what_is_held_is_little_more_than_the_bytes(sizes: list[int]) -> None:
    parts = BodyParts()
    tracemalloc.start()
    try:
        while parts.size < 100_000:
            for size in sizes:
                parts.add(b"%*d" % (size, 7))
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert held < 1.4 * parts.size
