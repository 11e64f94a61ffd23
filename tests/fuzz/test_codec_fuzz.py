"""Any bytes, and mutations of messages of every mode, through every binding: an event that stays so, or a refusal."""

import pytest
from codec_invariants import READERS, check
from hypothesis import given
from hypothesis import strategies as st
from seed_messages import seeds

SEEDS = list(seeds())
PIECES = [
    b"ce-",
    b"ce_",
    b":",
    b"\n",
    b"\n\n",
    b"%",
    b"%e2%82",
    b'"',
    b"\\",
    b"\\ud800",
    b"null",
    b"{",
    b"]",
    b"1.0",
    b"0.2",
]


@pytest.mark.parametrize("seed", SEEDS)
def test_every_seed_is_read(seed: bytes) -> None:
    batch = b"batch" in seed
    assert check(seed) or (batch and READERS[seed[0]].__name__ != "_read_batched")


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(message: bytes) -> None:
    check(message)


@given(st.data())
def test_mutated_messages_are_read_or_refused(data: st.DataObject) -> None:
    message = bytearray(data.draw(st.sampled_from(SEEDS)))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(message)))
        size = data.draw(st.integers(0, 6))
        message[at : at + size] = data.draw(st.binary(max_size=6) | st.sampled_from(PIECES))
    check(bytes(message))
