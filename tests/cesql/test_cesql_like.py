"""LIKE: its patterns, and that none is slow."""

import re
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from wayside.eventing.cesql.expression import Expression, Result
from wayside.eventing.cesql.like import matcher


@pytest.mark.parametrize(
    ("pattern", "like", "unlike"),
    [
        ("", [""], ["a"]),
        ("abc", ["abc"], ["", "ab", "abcd", "ABC"]),
        ("%", ["", "a", "a\nb"], []),
        ("%%", ["", "a"], []),
        ("_", ["a", "\n", "😀"], ["", "ab"]),
        ("__", ["ab"], ["a", "abc"]),
        ("_%", ["a", "ab"], [""]),
        ("%_", ["a", "ab"], [""]),
        ("%__%", ["ab", "abc"], ["", "a"]),
        ("a%", ["a", "ab"], ["", "ba"]),
        ("%a", ["a", "ba"], ["", "ab"]),
        ("%a%", ["a", "bab"], ["", "b"]),
        ("a%a", ["aa", "aba"], ["a", "ab"]),
        ("a%b%c", ["abc", "a-b-c", "abbcc"], ["acb", "ab", "abcd"]),
        ("%ab%ab%", ["abab", "xabyabz"], ["ab", "aba", "abxb"]),
        ("%aab", ["aaab", "aab"], ["aabb", "ab"]),
        ("a_c%", ["abc", "abcd"], ["ac", "abd"]),
        ("%a_c", ["abc", "xaxc"], ["ac", "abcd"]),
        ("%_a_%", ["bab", "aaa", "xxabx"], ["ba", "ab", "a"]),
        ("%a_b%a_b", ["axbaxb", "axb-axb"], ["axb", "axbaxbx"]),
        (r"100\%", ["100%"], ["1000", r"100\%"]),
        (r"a\_b", ["a_b"], ["axb", r"a\_b"]),
        (r"%\%%", ["%", "5% off"], ["5"]),
        (r"\\%", [r"\%"], ["\\", r"\\", r"\a"]),
        (r"a\b", [r"a\b"], ["ab"]),
        ("a\\", ["a\\"], ["a"]),
        (r"a.c*[x]^$", ["a.c*[x]^$"], ["abc*[x]^$"]),
        ("a.c_", ["a.cd"], ["abcd"]),
    ],
)
def test_patterns(pattern: str, like: list[str], unlike: list[str]) -> None:
    matches = matcher(pattern)
    assert [matches(text) for text in like] == [True] * len(like)
    assert [matches(text) for text in unlike] == [False] * len(unlike)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x LIKE '%.request'", True),
        ('x like "a%"', True),
        ("x NOT LIKE 'a%'", False),
        ("x not like 'b%'", True),
        ("123 LIKE '1_3'", True),
        ("-5 LIKE '-_'", True),
        ("TRUE LIKE 't%'", True),
        ("TRUE LIKE 'T%'", False),
        ("'it\\'s' LIKE 'it\\'_'", True),
        ("'100%' LIKE '100\\%'", True),
    ],
)
def test_the_operator(text: str, expected: bool) -> None:
    assert Expression.parse(text).evaluate({"x": "a.request"}.get) == Result(expected)


@given(st.text("ab%_\\", max_size=8), st.text("ab%_\\", max_size=12))
@example("%a_", "aab")
@example("a%a", "a")
def test_patterns_mean_what_a_backtracking_engine_says(pattern: str, text: str) -> None:
    pieces = re.findall(r"\\[%_]|.", pattern, re.DOTALL)
    wanted = "".join({"%": ".*", "_": "."}.get(each) or re.escape(each[-1]) for each in pieces)
    assert matcher(pattern)(text) is (re.fullmatch(wanted, text, re.DOTALL) is not None)


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("%a" * 200 + "%b", "a" * 20_000),
        ("%a_" * 200 + "%b", "a" * 20_000),
        ("%" * 2000 + "b", "a" * 20_000),
        ("%_" * 2000 + "b", "a" * 20_000),
        ("%" + "a_" * 200 + "b%", "a" * 20_000),
    ],
)
def test_no_pattern_is_slow(pattern: str, text: str) -> None:
    matches = matcher(pattern)
    started = time.process_time()
    assert not matches(text)
    assert time.process_time() - started < 1  # some milliseconds; one that backtracks takes years
