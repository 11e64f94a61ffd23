"""Any bytes, and mutations of bodies of every protocol, through every payload reader and both JSON loaders."""

import pytest
from body_invariants import check, message_from
from hypothesis import given
from hypothesis import strategies as st
from seed_bodies import seeds

SEEDS = list(seeds())
PIECES = [b"[", b"]", b"{", b"}", b'"', b"null", b"true", b"NaN", b"1e400", b"9007199254740993", b"[[1],[2,3]]"]


@pytest.mark.parametrize("seed", SEEDS)
def test_every_seed_but_the_bare_list_is_read(seed: bytes) -> None:
    payload = check(message_from(seed[:5], seed[5:]))
    assert (payload is None) == seed.startswith(b"[", 5)


# Whatever may be a list of numbers is one that the arrays layer cuts out, once it is padded.
NUMBER_LISTS = [
    '{"inputs":[{"name":"a","shape":[2,1],"datatype":"FP32","data":[1,2]}]}',
    '{"inputs":[{"name":"a","shape":[1,1],"datatype":"UINT8","parameters":{"binary_data_size":1}}]}a',
    '{"inputs":[{"name":"a","shape":[2],"datatype":"INT32","contents":{"int_contents":[0,2]}}]}',
    '{"inputs":[{"name":"a","shape":[-1],"datatype":"BYTES","data":[65,66]}]}',
    '{"data":{"tensor":{"shape":[2,1],"values":[1,2]}}}',
    '{"data":{"is_outlier":[0,1],"threshold":0.5}}',
    '{"messages":[1,1],"prompt":"x"}',
    '{"choices":[1,1],"prompt":"x"}',
    '{"query":"a","documents":[1,1]}',
    '{"prompt":[1.5,2.5]}',
    '{"prompt":[1,2]}',
    '{"choices":[{"index":0,"message":{"content":[1,1],"tool_calls":[1,1]}}]}',
    '{"data":[{"index":0,"embedding":[1,1]},{"index":1,"embedding":[1.5,1]}]}',
]


@pytest.mark.parametrize("text", NUMBER_LISTS)
def test_both_loaders_read_padded_lists_alike(text: str) -> None:
    check(message_from(b"", text.replace(",", "," + " " * 600).encode()))
    check(message_from(b"", text.encode()))


@given(st.binary(max_size=5), st.binary(max_size=512))
def test_any_bytes_are_read_or_refused(choices: bytes, body: bytes) -> None:
    check(message_from(choices, body))


@given(st.data())
def test_mutated_bodies_are_read_or_refused(data: st.DataObject) -> None:
    seed = bytearray(data.draw(st.sampled_from(SEEDS)))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(seed)))
        size = data.draw(st.integers(0, 6))
        seed[at : at + size] = data.draw(st.binary(max_size=6) | st.sampled_from(PIECES))
    check(message_from(bytes(seed[:5]), bytes(seed[5:])))
