"""What each kind takes on the command line: its options by name, of its fields' types, and what to tell people of them.

Invariant: a kind is imported only when it is asked for, and no kind needs Keras to tell its options.
"""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from wayside.detectors.kinds.protocol import RowDetector, WindowDetector
from wayside.detectors.kinds.registry import ROW_KINDS, WINDOW_KINDS, row_detector, window_detector
from wayside.eventing.errors import ConfigurationError

_OPTIONS_A_LINE = 4
_TRUTHS = {"true": True, "false": False}


def options_of(kind: str, given: Mapping[str, Any]) -> Any:
    """The kind's options with those that are given, each of its field's type. Raises `ConfigurationError`."""
    known = _class_of(kind).options
    types = {each.name: type(each.default) for each in fields(known)}
    unknown = [name for name in given if name not in types]
    if unknown:
        raise ConfigurationError(f"{kind} has no option {unknown[0]!r}: it has {', '.join(types) or 'none'}")
    return known(**{name: _option(name, types[name], value) for name, value in given.items()})


def describe_kinds() -> list[str]:
    """What each is, and its options with their defaults, for people: kinds that judge rows, then those of windows."""
    return [
        *("kinds that judge rows:", *(line for kind in ROW_KINDS for line in _described(kind))),
        *("", "kinds that judge windows:", *(line for kind in WINDOW_KINDS for line in _described(kind))),
    ]


def _described(kind: str) -> list[str]:
    found = _class_of(kind)
    options = [f"--set {each.name}={each.default}" for each in fields(found.options)]
    rows = (options[at : at + _OPTIONS_A_LINE] for at in range(0, len(options), _OPTIONS_A_LINE))
    return [f"  {kind:18} {found.summary}", *(f"  {'':18}   {' '.join(row)}" for row in rows)]


def _class_of(kind: str) -> type[RowDetector] | type[WindowDetector]:
    return window_detector(kind) if kind in WINDOW_KINDS else row_detector(kind)


def _option(name: str, wanted: type, value: Any) -> Any:
    try:
        return _TRUTHS[str(value).lower()] if wanted is bool else wanted(value)
    except (KeyError, TypeError, ValueError) as exc:
        raise ConfigurationError(f"option {name} is {value!r}: give a value like {wanted.__name__}") from exc
