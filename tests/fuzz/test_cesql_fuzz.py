"""Any text, and mutations of expressions of every kind, through the expression language."""

import pytest
from cesql_invariants import check
from hypothesis import given
from hypothesis import strategies as st
from seed_expressions import seeds

SEEDS = list(seeds())
PIECES = [
    b"(",
    b")",
    b"'",
    b'"',
    b"\\",
    b"%",
    b"_",
    b",",
    b"--",
    b" NOT ",
    b" IN (",
    b" LIKE '",
    b"2147483648",
    b"(((((",
]
OPERATORS = ["AND", "OR", "XOR", "NOT", "=", "!=", "<>", "<", "<=", ">", ">=", "+", "-", "*", "/", "%", "(", ")", ","]
TESTS = ["LIKE '%_'", "NOT LIKE 'a%'", "IN (", "NOT IN ('a', 1,", "EXISTS x", "EXISTS"]
VALUES = [
    "TRUE",
    "false",
    "0",
    "-1",
    "+7",
    "2147483647",
    "-2147483648",
    "2147483648",
    "'a'",
    '"b"',
    "x",
    "n",
    "b",
    "long",
]
CALLS = [
    "ABS(",
    "CONCAT(",
    "CONCAT_WS(",
    "UPPER(",
    "LEFT(",
    "SUBSTRING(",
    "INT(",
    "BOOL(",
    "STRING(",
    "NONE(",
    "missing",
]
WORDS = [*OPERATORS, *TESTS, *VALUES, *CALLS]


@pytest.mark.parametrize("seed", SEEDS)
def test_every_seed_is_an_expression(seed: bytes) -> None:
    assert check(seed) is not None


@given(st.binary(max_size=256))
def test_any_bytes_are_evaluated_or_refused(data: bytes) -> None:
    check(data)


@given(st.integers(0, 3), st.lists(st.sampled_from(WORDS), max_size=24))
def test_any_words_of_the_language_are_evaluated_or_refused(event: int, words: list[str]) -> None:
    check(bytes([event]) + " ".join(words).encode())


@given(st.data())
def test_mutated_expressions_are_evaluated_or_refused(data: st.DataObject) -> None:
    seed = bytearray(data.draw(st.sampled_from(SEEDS)))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(1, len(seed)))
        size = data.draw(st.integers(0, 6))
        seed[at : at + size] = data.draw(st.binary(max_size=6) | st.sampled_from(PIECES))
    check(bytes(seed))


@pytest.mark.parametrize(
    "piece", [*PIECES, b" ", b"a", b"1+", b"1*(", b"a=", b"NOT ", b"a OR ", b"x IN (", b"ABS(", b"-"]
)
def test_long_repetitions_are_evaluated_or_refused(piece: bytes) -> None:
    for text in (piece * 5000, piece * 5000 + b"1", b"x" + piece * 5000, (piece + b" ") * 5000 + b"1" + b")" * 5000):
        check(b"\x01" + text)
