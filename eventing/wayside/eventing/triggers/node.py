"""A YAML document as a tree that remembers where each node stands in its file.

Invariant: a value whose node is at hand can be refused by file, line and column.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple


class Place(NamedTuple):
    """A line and a column of a file, both from 1, as editors count."""

    line: int
    column: int


Scalar = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Entry:
    """What stands under a key, and where the key stands."""

    key: Place
    node: "Node"


@dataclass(frozen=True, slots=True)
class Node:
    """A scalar, a tuple of nodes, or a mapping from keys to entries.

    `text` is a scalar as it was written; the value of an integer past 18 digits, or in another base, is a float.
    `weight` counts the node and all below it, each as often as aliases repeat it.
    """

    value: "Scalar | tuple[Node, ...] | Mapping[Scalar, Entry]"
    place: Place
    weight: int
    text: str = ""

    @property
    def kind(self) -> str:
        """What it is, with its article."""
        if isinstance(self.value, Mapping):
            return "a mapping"
        kinds = {tuple: "a list", bool: "a boolean", str: "text", int: "a number", float: "a number"}
        return kinds.get(type(self.value), "null")
