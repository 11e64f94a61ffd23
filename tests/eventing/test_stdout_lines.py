"""Lines that any terminal and any encoding can take, and that stay the JSON that they are."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wayside.eventing.stdout_lines import print_lines, printable_line

ANY_TEXT = st.text(st.characters(exclude_categories=[]))  # lone surrogates too


@pytest.mark.parametrize(
    ("line", "encoding", "is_terminal", "written"),
    [
        ("a\x9b\x7f\u202e", "utf-8", False, "a\x9b\x7f\u202e"),
        ("a\x9b\x7f\u202e", "utf-8", True, "a\\u009b\\u007f\\u202e"),
        ("\x1b[2J", "utf-8", True, "\\u001b[2J"),
        ("{\t}", "utf-8", True, "{\t}"),
        ("é中\U0001f600", "utf-8", True, "é中\U0001f600"),
        ("é", "latin-1", False, "é"),
        ("é中\U0001f600", "latin-1", False, "\\u00e9\\u4e2d\\ud83d\\ude00"),
        ("\U000e0001", "utf-8", True, "\\udb40\\udc01"),
        ("\udcff", "utf-8", False, "\\udcff"),
    ],
)
def test_what_is_written(line: str, encoding: str, is_terminal: bool, written: str) -> None:
    assert printable_line(line, encoding, is_terminal) == written


@given(ANY_TEXT, st.sampled_from(["ascii", "latin-1", "utf-8", "cp1252", "utf-16"]), st.booleans())
def test_json_stays_the_same_json_and_can_be_written(text: str, encoding: str, is_terminal: bool) -> None:
    line = printable_line(json.dumps({text: [text]}, ensure_ascii=False), encoding, is_terminal)
    line.encode(encoding)
    assert line.isprintable() or not is_terminal
    read = json.loads(line)
    paired = text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")  # as JSON pairs halves
    assert read in ({text: [text]}, {paired: [paired]})


def test_lines_are_printed_as_they_come(capsys: pytest.CaptureFixture[str]) -> None:
    print_lines(["a", "", "é"])
    assert capsys.readouterr().out == "a\n\né\n"
