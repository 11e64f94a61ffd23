"""The table of the vocabulary: every word that the code knows is in it, and docs/events.md prints it."""

import ast
import re
from pathlib import Path

import pytest

from wayside.eventing import vocabulary
from wayside.eventing.schemas import NAMES
from wayside.eventing.terms import EXTENSIONS, TERMS, TYPES, Term, table

_TESTS = Path(__file__).parent
_DOCS = (_TESTS.parents[1] / "docs" / "events.md").read_text("utf-8")
_WORDS = {name: value for name, value in vars(vocabulary).items() if name.isupper() and isinstance(value, str)}


@pytest.mark.parametrize("name", _WORDS)
def test_every_word_has_one_term(name: str) -> None:
    assert [term.name for term in TERMS].count(_WORDS[name]) == 1


@pytest.mark.parametrize("term", TERMS, ids=lambda term: term.name)
def test_every_term_is_whole_and_a_name_that_an_event_can_have(term: Term) -> None:
    assert all((term.meaning, term.source, term.written_by, term.read_by))
    if term.kind == "extension":
        assert re.fullmatch(r"[a-z0-9]+(<name>)?", term.name)


@pytest.mark.parametrize("terms", [TYPES, EXTENSIONS], ids=["types", "extensions"])
def test_the_documentation_prints_the_table(terms: tuple[Term, ...]) -> None:
    assert table(terms) in _DOCS, f"put this into docs/events.md:\n{table(terms)}"


def test_the_documentation_lists_each_divergence_that_is_shown() -> None:
    tree = ast.parse((_TESTS / "test_cloudevents_sdk.py").read_text("utf-8"))
    shown = {node.name for node in tree.body if isinstance(node, ast.FunctionDef) and "_divergence_" in node.name}
    assert shown == set(re.findall(r"`(test_divergence_\w+)`", _DOCS))


def test_the_documentation_names_each_schema() -> None:
    assert {f"schemas/{name}.json" for name in NAMES} <= set(re.findall(r"schemas/\w+\.json", _DOCS))
