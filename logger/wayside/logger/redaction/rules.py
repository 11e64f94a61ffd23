"""Redaction rules: read from text, checked, and sorted so that where two meet the one that leaves less counts.

Source: RFC 6901 (JSON pointer), with `*` for every element of an array and every member of an object.
Invariant: a rule that could never do what it says is refused at start, with what to write instead.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from wayside.eventing.errors import ConfigurationError
from wayside.logger.settings import Redacted, RedactionRule, SideWork, Target

_FORM: Final = (
    "write TARGET:NAME=LEFT, such as pointer:/instances/*/ssn=mask, column:age=hash or header:X-User-Id=drop; LEFT is"
    " drop, mask or hash"
)
_SEVERAL: Final = re.compile(r"=(?:drop|mask|hash)\s*[,;\s]")
_TOKENS_LIMIT: Final = 64
_BAD_ESCAPE: Final = re.compile(r"~(?![01])")
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
_HOW_TO_READ: Final = frozenset(
    {"content-type", "content-encoding", "grpc-encoding", "inference-header-content-length"}
)
_STRICTEST_FIRST: Final = (Redacted.DROP, Redacted.MASK, Redacted.HASH)
_KEY_BYTES: Final = 16
_KEY_LIMIT_BYTES: Final = 4096

EVERY: Final = "*"
Tokens = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BodyRules:
    """The rules on bodies that leave the same of what they find."""

    left: Redacted
    pointers: tuple[Tokens, ...]
    columns: frozenset[str]


@dataclass(frozen=True, slots=True)
class Rules:
    """All rules: on bodies, strictest first, and on headers by their names in lower case, strictest last."""

    bodies: tuple[BodyRules, ...]
    headers: dict[str, Redacted]

    @classmethod
    def of(cls, rules: Sequence[RedactionRule]) -> "Rules":
        """Raises `ConfigurationError` for a rule that cannot work."""
        for rule in rules:
            check_rule(rule)
        bodies = (_body_rules(rules, left) for left in _STRICTEST_FIRST)
        headers = {
            rule.name.lower(): left
            for left in reversed(_STRICTEST_FIRST)
            for rule in rules
            if rule.target is Target.HEADER and rule.left is left
        }
        return cls(tuple(each for each in bodies if each.pointers or each.columns), headers)

    @property
    def pointers(self) -> list[Tokens]:
        return [tokens for each in self.bodies for tokens in each.pointers]

    @property
    def columns(self) -> dict[str, Redacted]:
        """What is left of each column, by its name."""
        return {name: each.left for each in reversed(self.bodies) for name in each.columns}


def _body_rules(rules: Sequence[RedactionRule], left: Redacted) -> BodyRules:
    alike = [rule for rule in rules if rule.left is left]
    return BodyRules(
        left,
        tuple(_tokens(rule.name) for rule in alike if rule.target is Target.POINTER),
        frozenset(rule.name for rule in alike if rule.target is Target.COLUMN),
    )


def parse_rule(text: str) -> RedactionRule:
    """The rule that `--redact` names. Raises `ConfigurationError` that says what to write."""
    place, _, left = text.rpartition("=")
    target, colon, name = place.partition(":")
    if not colon or target not in set(Target) or left not in set(Redacted):
        raise ConfigurationError(f"redaction rule {text[:200]!r} cannot be read: {_FORM}")
    if _SEVERAL.search(name):  # as one rule it would look for a name that nothing has, and let everything out
        raise ConfigurationError(
            f"redaction rule {text[:200]!r} holds several: give each a --redact of its own, or in an annotation, a"
            " variable or a file write them with semicolons between"
        )
    rule = RedactionRule(Target(target), name, Redacted(left))
    check_rule(rule)
    return rule


def check_rule(rule: RedactionRule) -> None:
    """Raise `ConfigurationError` for a rule that cannot work."""
    wrong = _WRONG[rule.target](rule.name)
    if wrong:
        raise ConfigurationError(f"redaction rule {rule.target}:{rule.name[:200]}={rule.left}: {wrong}")


def _wrong_pointer(pointer: str) -> str:
    if not pointer.startswith("/"):
        return "a pointer begins with '/', such as /instances/*/ssn; for no bodies at all use --log-mode"
    if _BAD_ESCAPE.search(pointer):
        return "in a pointer '~' is written ~0, and '/' within a name ~1"
    if pointer.count("/") > _TOKENS_LIMIT:
        return f"a pointer has at most {_TOKENS_LIMIT} parts"
    return ""


def _wrong_header(name: str) -> str:
    if _HEADER_NAME.fullmatch(name) is None:
        return "this is no name of a header; write one such as header:X-User-Id=hash"
    if name.lower() in _HOW_TO_READ:
        return "this header says how to read the body, which nobody could without it; leave the rule out"
    return ""


def _wrong_column(name: str) -> str:
    return "" if name else "a column needs its name, such as column:age=drop"


_WRONG: Final = {Target.POINTER: _wrong_pointer, Target.COLUMN: _wrong_column, Target.HEADER: _wrong_header}


def _tokens(pointer: str) -> Tokens:
    return tuple(token.replace("~1", "/").replace("~0", "~") for token in pointer[1:].split("/"))


def read_key(side_work: SideWork) -> bytes:
    """The key of keyed hashes, without a line end after it; empty where no rule hashes.

    Raises `ConfigurationError` where a rule hashes and there is no key, one that cannot be read, or one too short.
    """
    if not any(rule.left is Redacted.HASH for rule in side_work.rules):
        return b""
    path = side_work.hash_key_file
    if path is None:
        raise ConfigurationError("a redaction rule hashes and there is no key: name its file with --redact-key-file")
    key = _read(path)
    if not _KEY_BYTES <= len(key) <= _KEY_LIMIT_BYTES:
        raise ConfigurationError(
            f"the key in {path} has {len(key)} bytes, expected {_KEY_BYTES} to {_KEY_LIMIT_BYTES}: make one with"
            " 'openssl rand -hex 32'"
        )
    return key


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_KEY_LIMIT_BYTES + 2).rstrip(b"\r\n")
    except OSError as exc:
        raise ConfigurationError(f"cannot read the redaction key {path}: {exc.strerror}") from exc
