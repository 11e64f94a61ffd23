"""Any bytes, and mutations of manifests, through the whole reading of Broker and Trigger YAML."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from manifest_invariants import check
from seed_manifests import seeds

SEEDS = list(seeds())
PIECES = [
    b"[", b"]", b"{", b"}", b": ", b"\n- ", b"\n", b"&a ", b"*a", b"<<: *a", b"!!str ", b"!x ", b"'", b'"', b"|\n",
    b"? ", b"---\n", b"...\n", b"~", b"yes", b"1e9", b"0x1F", b"1:2", b"\x00", b"\xff", b"\xe2\x80\xa8", b"\\ud800",
    b"%TAG ! x", b"{not: ", b"{exact: {id: a}}", b"filters: ", b"exact: ", b"cesql: 'NOT TRUE'", b"#",
]  # fmt: skip


@pytest.mark.parametrize("number", range(5))
def test_every_manifest_of_the_seeds_is_taken(number: int) -> None:
    manifests = check(SEEDS[number])
    assert manifests is not None
    assert len(manifests.triggers) == 1


@pytest.mark.parametrize("seed", SEEDS[5:])
def test_every_other_seed_is_refused_or_holds_nothing(seed: bytes) -> None:
    manifests = check(seed)
    assert manifests is None or not manifests.triggers


@given(st.binary(max_size=256))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    check(content)


@given(st.text(alphabet=st.sampled_from("[]{}:-,&*!|>'\"%@`?#~ab1. \n\t\\<"), max_size=200))
def test_any_marks_of_yaml_are_read_or_refused(text: str) -> None:
    check(text.encode())


@given(st.data())
def test_mutated_manifests_are_read_or_refused(data: st.DataObject) -> None:
    seed = bytearray(data.draw(st.sampled_from(SEEDS)))
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(seed)))
        size = data.draw(st.integers(0, 8))
        seed[at : at + size] = data.draw(st.sampled_from(PIECES) | st.binary(max_size=4))
    check(bytes(seed))
