"""A command line as KServe's agent would read it, token by token.

Source: spf13/pflag: a flag takes the next token whatever it is; a boolean takes none; positional arguments are ignored;
`--` ends the flags. One thing differs on purpose: a boolean takes `true` or `false` from a token of its own, as
KServe's injector writes it, so that the value written is the one that counts.
Invariant: what comes out says the same, each flag in one token with its value; pure.
"""

import argparse
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from wayside.eventing.command import parse_bool

_SINGLE_DASH = re.compile(r"-[a-z][a-z-]+(=.*)?", re.ASCII | re.DOTALL)
SWITCH = "?"  # argparse's nargs of a flag that may stand without a value


@dataclass(frozen=True, slots=True)
class Given:
    """One flag as it was given: its name, None for an argument that is none; its value; and its tokens as written."""

    flag: str | None
    value: str | None
    written: tuple[str, ...]

    @property
    def is_on(self) -> bool:
        """Whether a boolean flag is given as true."""
        return self.value is None or (_is_bool(self.value) and parse_bool(self.value))


def read_tokens(parser: argparse.ArgumentParser, argv: Sequence[str]) -> list[Given]:
    """What is given, in order. A flag that the parser does not know stands without a value."""
    actions = parser._option_string_actions
    found: list[Given] = []
    waiting = list(reversed(argv))
    while waiting:
        token = waiting.pop()
        if token == "--":
            return [*found, *(Given(None, text, (text,)) for text in reversed(waiting))]
        found.append(_read(actions, token, waiting))
    return found


def _read(actions: Mapping[str, argparse.Action], token: str, waiting: list[str]) -> Given:
    """The flag that begins with `token`; what it takes besides is taken from the end of `waiting`."""
    if len(token) < 2 or not token.startswith("-"):
        return Given(None, token, (token,))
    name, equals, value = (f"-{token}" if _SINGLE_DASH.fullmatch(token) else token).partition("=")
    action = actions.get(name)
    if equals:
        return Given(name, value, (token,))
    if action is None or not _takes(action, waiting):
        return Given(name, None, (token,))
    value = waiting.pop()
    return Given(name, value, (token, value))


def _takes(action: argparse.Action, waiting: list[str]) -> bool:
    if not waiting or action.nargs == 0:
        return False
    return action.nargs != SWITCH or _is_bool(waiting[-1])


def _is_bool(text: str) -> bool:
    try:
        parse_bool(text)
    except argparse.ArgumentTypeError:
        return False
    return True


def joined(given: Given) -> str:
    """The flag with its value, in one token."""
    return f"{given.flag}={given.value}" if given.value is not None else str(given.flag)
