"""Reads YAML text into nodes that know their place, within bounds that no document can get round.

Source: YAML 1.1 as Kubernetes takes it: anchors, aliases and `<<` work, a key that is there twice is refused.
Invariant: memory and time are bounded by the limits, whatever the text says; nothing recurses, nothing but null,
booleans, numbers, text, lists and mappings is made, and what an alias repeats is counted again each time.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from wayside.eventing.errors import ConfigurationError, MissingExtra
from wayside.eventing.triggers.node import Entry, Node, Place, Scalar
from wayside.eventing.triggers.scalars import plain_scalar

try:
    import yaml
except ImportError as exc:
    raise MissingExtra("Broker and Trigger YAML", "broker") from exc

_STANDARD = "tag:yaml.org,2002:"
_SCALAR_TAGS = frozenset[str | None](_STANDARD + name for name in ("null", "bool", "int", "float", "timestamp"))
_TEXT_TAGS = frozenset[str | None]((_STANDARD + "str",))
_SEQUENCE_TAGS = frozenset((None, "!", _STANDARD + "seq"))
_MAPPING_TAGS = frozenset((None, "!", _STANDARD + "map"))
_MERGE = "<<"
_CHARACTERS_A_WEIGHT = 32
_SHOWN_CHARACTERS = 64


@dataclass(frozen=True, slots=True)
class YamlLimits:
    """How deep nodes nest, and how many one file has: a scalar counts once more for each 32 characters."""

    depth: int = 64
    weight: int = 300_000


def read_nodes(text: str, name: str, limits: YamlLimits | None = None) -> list[Node]:
    """The root of each document of a file called `name`; an empty document is a null. Raises `ConfigurationError`."""
    composer = _Composer(name, limits or YamlLimits())
    try:
        for event in yaml.parse(text, Loader=_loader()):
            composer.feed(event)
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        place = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        raise ConfigurationError(f"{name}{place}: is not YAML: {exc.problem or exc.context}") from exc
    except (yaml.YAMLError, ValueError, OverflowError) as exc:  # the parser in Python lets a bad escape's error out
        raise ConfigurationError(f"{name}: is not YAML: {' '.join(str(exc).split())}") from exc
    return composer.documents


def _loader() -> Any:
    """libyaml's parser where PyYAML was built with it: ten times as fast."""
    return yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader


@dataclass(slots=True)
class _Open:
    """A list or mapping whose end has not come yet."""

    place: Place
    anchor: str | None
    is_mapping: bool
    items: list[Node] = field(default_factory=list)
    weight: int = 1


class _Composer:
    """Builds nodes from parser events, with a stack of its own in the place of recursion."""

    def __init__(self, name: str, limits: YamlLimits) -> None:
        self.documents: list[Node] = []
        self._name, self._limits = name, limits
        self._open: list[_Open] = []
        self._anchors: dict[str, Node] = {}
        self._weight = 0

    def feed(self, event: Any) -> None:
        """The next event of the parser."""
        match event:
            case yaml.ScalarEvent():
                self._add(self._scalar(event), event.anchor)
            case yaml.AliasEvent():
                self._add(self._aliased(event))
            case yaml.SequenceStartEvent() | yaml.MappingStartEvent():
                self._start(event)
            case yaml.SequenceEndEvent() | yaml.MappingEndEvent():
                done = self._open.pop()
                value = self._mapping(done) if done.is_mapping else tuple(done.items)
                self._add(Node(value, done.place, done.weight), done.anchor)
            case yaml.DocumentStartEvent():
                self._anchors.clear()

    def _scalar(self, event: Any) -> Node:
        place, text, (is_plain, is_quoted) = _place(event), event.value, event.implicit
        if not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text):
            self._fail(place, "holds a lone surrogate, which no encoding can carry")
        if not is_plain and not is_quoted and event.tag not in _TEXT_TAGS:
            self._check_tag(event, _SCALAR_TAGS)
            is_plain = True
        weight = 1 + len(text) // _CHARACTERS_A_WEIGHT
        self._spend(weight, place)
        return Node(plain_scalar(text) if is_plain else text, place, weight, text)

    def _aliased(self, event: Any) -> Node:
        found, place = self._anchors.get(event.anchor), _place(event)
        if found is None:
            self._fail(place, f"the alias *{event.anchor[:_SHOWN_CHARACTERS]} names nothing that ended before it")
        self._spend(found.weight, place)
        return found

    def _start(self, event: Any) -> None:
        place, is_mapping = _place(event), isinstance(event, yaml.MappingStartEvent)
        self._check_tag(event, _MAPPING_TAGS if is_mapping else _SEQUENCE_TAGS)
        if len(self._open) == self._limits.depth:
            self._fail(place, f"is nested more than {self._limits.depth} deep")
        self._spend(1, place)
        self._open.append(_Open(place, event.anchor, is_mapping))

    def _add(self, node: Node, anchor: str | None = None) -> None:
        if anchor is not None:
            self._anchors[anchor] = node
        if self._open:
            self._open[-1].items.append(node)
            self._open[-1].weight += node.weight
        else:
            self.documents.append(node)

    def _mapping(self, done: _Open) -> Mapping[Scalar, Entry]:
        """The entries of a mapping that ended: its own, then those that `<<` merges into it and it does not have."""
        own: dict[Scalar, Entry] = {}
        merged: list[Mapping[Scalar, Entry]] = []
        for key, node in zip(done.items[::2], done.items[1::2], strict=True):
            if isinstance(key.value, (tuple, Mapping)):
                self._fail(key.place, f"{key.kind} cannot be a key")
            if key.value == _MERGE:
                merged += self._sources(node)
            elif key.value in own:
                first = own[key.value].key
                self._fail(
                    key.place, f"the key {key.text[:_SHOWN_CHARACTERS]!r} is there twice: first in line {first.line}"
                )
            else:
                own[key.value] = Entry(key.place, node)
        return self._merge(own, merged, done) if merged else own

    def _sources(self, node: Node) -> list[Mapping[Scalar, Entry]]:
        """The mappings that a `<<` names: one, or a list of them."""
        sources = [one.value for one in (node.value if isinstance(node.value, tuple) else (node,))]
        if not all(isinstance(source, Mapping) for source in sources):
            self._fail(node.place, f"'{_MERGE}' merges a mapping, or a list of mappings")
        return [source for source in sources if isinstance(source, Mapping)]

    def _merge(
        self, own: dict[Scalar, Entry], sources: list[Mapping[Scalar, Entry]], done: _Open
    ) -> Mapping[Scalar, Entry]:
        """Its own entries count before merged ones, and those of an earlier source before those of a later one."""
        for source in sources:
            self._spend(len(source), done.place)
            for key, entry in source.items():
                own.setdefault(key, entry)
        return own

    def _check_tag(self, event: Any, allowed: frozenset[str | None]) -> None:
        if event.tag not in allowed:
            self._fail(_place(event), f"the tag {event.tag[:_SHOWN_CHARACTERS]!r} is not supported")

    def _spend(self, weight: int, place: Place) -> None:
        self._weight += weight
        if self._weight > self._limits.weight:
            self._fail(place, "the file is too large, or its aliases repeat too much: split it into several files")

    def _fail(self, place: Place, problem: str) -> NoReturn:
        raise ConfigurationError(f"{self._name}:{place.line}:{place.column}: {problem}")


def _place(event: Any) -> Place:
    return Place(event.start_mark.line + 1, event.start_mark.column + 1)
