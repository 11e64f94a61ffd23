"""What a plain YAML scalar means: null, a boolean, a number, or text.

Source: YAML 1.1 types as Kubernetes reads them (sigs.k8s.io/yaml): dates and base-60 numbers are text.
Invariant: linear in the scalar's length; no number is computed from more than 18 digits.
"""

import re

from wayside.eventing.triggers.node import Scalar

_NULL = ("", "~", "null", "Null", "NULL")
_WORDS = {
    spelling: value
    for words, value in ((("y", "yes", "on", "true"), True), (("n", "no", "off", "false"), False))
    for word in words
    for spelling in (word, word.capitalize(), word.upper())
}
_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,17})", re.ASCII)
_NUMBER = re.compile(
    r"[-+]?(?:0b[01_]+|0o[0-7_]+|0x[0-9a-fA-F_]+|\.(?:inf|Inf|INF)"
    r"|(?:[0-9][0-9_]*(?:\.[0-9_]*)?|\.[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)?)|\.(?:nan|NaN|NAN)",
    re.ASCII,
)


def plain_scalar(text: str) -> Scalar:
    """The value of an unquoted scalar; a number that is no short decimal integer is NaN, its text saying which."""
    if text in _NULL:
        return None
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    return float("nan") if _NUMBER.fullmatch(text) else text
