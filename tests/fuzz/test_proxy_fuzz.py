"""Plays of clients and model servers, and mutations of them, through the proxy's connections."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from proxy_invariants import SEPARATOR, check_play
from seed_plays import plays

PLAYS = list(plays())
PIECES = [b"\r\n", b"\n", b"\0", b" ", b":", b"0\r\n\r\n", b"5", b"transfer-encoding: chunked\r\n", SEPARATOR, b"\x80"]


@pytest.mark.parametrize("play", PLAYS)
def test_every_seed_keeps_the_invariants(play: bytes) -> None:
    check_play(play)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_mutated_plays_keep_the_invariants(data: st.DataObject) -> None:
    play = bytearray(SEPARATOR.join(data.draw(st.lists(st.sampled_from(PLAYS), min_size=1, max_size=2))))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(play)))
        play[at : at + data.draw(st.integers(0, 6))] = data.draw(st.binary(max_size=6) | st.sampled_from(PIECES))
    check_play(bytes(play))
