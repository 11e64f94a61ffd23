"""YAML that is meant well, and YAML that is not."""

import math
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from wayside.eventing.errors import ConfigurationError
from wayside.eventing.triggers.node import Node
from wayside.eventing.triggers.scalars import plain_scalar
from wayside.eventing.triggers.yaml_nodes import YamlLimits, read_nodes


def plain(node: Node) -> Any:
    """A node as lists and dicts."""
    if isinstance(node.value, tuple):
        return [plain(one) for one in node.value]
    if isinstance(node.value, (str, int, float)) or node.value is None:
        return node.value
    return {key: plain(entry.node) for key, entry in node.value.items()}


def read(text: str, **limits: int) -> list[Any]:
    return [plain(node) for node in read_nodes(text, "f.yaml", YamlLimits(**limits))]


@pytest.mark.parametrize(
    ("text", "documents"),
    [
        ("", []),
        ("---\n---\n", [None, None]),
        ("a: 1\n---\n- b\n- [c, {d: e}]", [{"a": 1}, ["b", ["c", {"d": "e"}]]]),
        ('{"json": [true, null, "x"]}', [{"json": [True, None, "x"]}]),
        ("a: &x [1]\nb: *x", [{"a": [1], "b": [1]}]),
        ("&x a: *x", [{"a": "a"}]),
        ("base: &b {x: 1, w: 2}\nmine: {<<: *b, w: 3}", [{"base": {"x": 1, "w": 2}, "mine": {"x": 1, "w": 3}}]),
        ("{w: 3, <<: [{x: 1}, {x: 2, z: 3}]}", [{"w": 3, "x": 1, "z": 3}]),
        ("a: !!str 5\nb: !!int '5'\nd: '5'", [{"a": "5", "b": 5, "d": "5"}]),
        ("a: !!map {}\nb: !!seq []\nc: ! []\nd: ! {}\ne: ! x", [{"a": {}, "b": [], "c": [], "d": {}, "e": "x"}]),
        ("a: |\n  x\n  y\nb: >\n  x\n  y", [{"a": "x\ny\n", "b": "x y"}]),
        ("\ufeffa: b", [{"a": "b"}]),
    ],
)
def test_documents(text: str, documents: list[Any]) -> None:
    assert read(text) == documents


TEXTS = st.text(st.sampled_from("abzYNo .:,-#&*!|>'\"%@`?~{}[]\n\té"), max_size=12).filter(
    lambda text: text not in ("Y", "N")  # which PyYAML writes without quotes, and Kubernetes reads as booleans
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**18) + 1, 10**18 - 1) | TEXTS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(TEXTS.filter(lambda text: text != "<<"), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(st.lists(VALUES, max_size=3), st.booleans())
def test_what_pyyaml_writes_is_read_as_it_was(values: list[Any], in_a_line: bool) -> None:
    assert read(yaml.safe_dump_all(values, default_flow_style=in_a_line, allow_unicode=True)) == values


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None), ("~", None), ("null", None), ("Null", None), ("nUll", "nUll"),
        ("true", True), ("Yes", True), ("ON", True), ("off", False), ("no", False), ("tRue", "tRue"),
        ("y", True), ("Y", True), ("n", False), ("N", False), ("yn", "yn"),
        ("0", 0), ("-12", -12), ("+3", 3), ("9" * 18, 10**18 - 1),
        ("2026-01-01", "2026-01-01"), ("1:30", "1:30"), ("1.2.3", "1.2.3"), ("5s", "5s"), ("0xg", "0xg"), ("e3", "e3"),
    ],
)  # fmt: skip
def test_plain_scalars(text: str, value: Any) -> None:
    read = plain_scalar(text)
    assert (read, type(read)) == (value, type(value))


@pytest.mark.parametrize(
    "text", ["1.5", "1e3", "0x1F", "0o7", "0b1", "017", "1_000", "9" * 19, ".5", ".inf", "-.INF", ".nan"]
)
def test_other_numbers_are_numbers_of_no_known_value(text: str) -> None:
    value = plain_scalar(text)
    assert isinstance(value, float)
    assert math.isnan(value)


def test_a_node_knows_its_place_and_what_it_is() -> None:
    (root,) = read_nodes("a:\n  - b: [1]\n    c: 'é'", "f.yaml")
    (inner,) = root.value["a"].node.value  # type: ignore[index, union-attr, misc]
    assert isinstance(inner, Node)
    assert isinstance(inner.value, dict)
    assert (inner.place, inner.value["c"].key, inner.value["c"].node.place) == ((2, 5), (3, 5), (3, 8))
    kinds = [read_nodes(text, "f")[0].kind for text in ("{}", "[]", "a", "1", "1.5", "yes", "~")]
    assert kinds == ["a mapping", "a list", "text", "a number", "a number", "a boolean", "null"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: b: c", "f.yaml:1:5: is not YAML: mapping values are not allowed"),
        ("a: 'x", "f.yaml:1:6: is not YAML: "),
        ("a: *x", "f.yaml:1:4: the alias *x names nothing that ended before it"),
        ("&x [*x]", "f.yaml:1:5: the alias *x names nothing"),
        ("&x a\n---\n*x", "the alias *x names nothing"),
        ("a: !!python/object/apply:os.system [ls]", "f.yaml:1:4: the tag 'tag:yaml.org,2002:python/object/apply:os"),
        ("a: !mine b", "f.yaml:1:4: the tag '!mine' is not supported"),
        ("!!set {a}", "the tag 'tag:yaml.org,2002:set' is not supported"),
        ("a: 1\nb: 2\na: 3", "f.yaml:3:1: the key 'a' is there twice: first in line 1"),
        ("? [a]\n: b", "f.yaml:1:3: a list cannot be a key"),
        ("<<: 5", "f.yaml:1:5: '<<' merges a mapping"),
        ("<<: [{a: b}, 5]", "f.yaml:1:5: '<<' merges a mapping"),
        ("a: \x00", "f.yaml: is not YAML: "),
        ('a: "\\ud800"', "f.yaml"),
        ('a: "\\U00110000"', "f.yaml"),
    ],
)
def test_what_is_refused_and_where(text: str, says: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        read(text)
    assert says in str(raised.value)
    assert str(raised.value).isprintable()


HOSTILE = {
    "lists in lists": "[" * 1_000_000,
    "lists in lists, closed": "[" * 1000 + "]" * 1000,
    "mappings in mappings": "{" * 1_000_000,
    "keys of keys": "? " * 100_000,
    "blocks in blocks": "- " * 100_000,
    "nodes": "[" + "a," * 100_000 + "]",
    "documents": "---\n" * 100_000,
    "laughs": "a: &a [x,x]\n"
    + "".join(f"a{n}: &a{n} [{('*a,' if n == 1 else f'*a{n - 1},') * 9}]\n" for n in range(1, 20)),
    "laughing texts": f"a: &a {'x' * 60_000}\nb: [{'*a,' * 10_000}]",
    "merges": f"a: &a {{{','.join(f'k{n}: 1' for n in range(5000))}}}\nb: [{'{<<: *a},' * 5000}]",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_bomb_is_refused_before_it_goes_off(name: str) -> None:
    with pytest.raises(
        ConfigurationError, match=r"^f\.yaml:\d+:\d+: (is nested more|the file is too large|is not YAML)"
    ):
        read_nodes(HOSTILE[name], "f.yaml", YamlLimits(weight=30_000))


@pytest.mark.parametrize("text", ["9" * 1_000_000, "1" + ":59" * 300_000, "-" * 1_000_000, "1" + "_" * 1_000_000])
def test_long_scalars_take_no_time(text: str) -> None:
    assert len(read_nodes(text, "f.yaml")) == 1


def test_limits_can_be_set() -> None:
    assert read("[[1]]", depth=2) == [[[1]]]
    with pytest.raises(ConfigurationError, match="nested more than 2 deep"):
        read("[[[1]]]", depth=2)
    assert read("[1, 2]", weight=3) == [[1, 2]]
    with pytest.raises(ConfigurationError, match=r"f\.yaml:1:8: the file is too large, or its aliases repeat too much"):
        read("[1, 2, 3]", weight=3)
