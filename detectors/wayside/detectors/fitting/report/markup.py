"""HTML and SVG as elements, so that whatever a column is called it is text and never markup.

Invariant: every document is well formed, and holds no control character, nor one that turns the order of text.
"""

import re
from xml.etree import ElementTree as ET

_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")


def element(tag: str, *children: "ET.Element | str", **attributes: str | float) -> ET.Element:
    """An element. In an attribute's name '_' stands for '-', and one at its end is dropped (`class_`)."""
    made = ET.Element(tag, {name.rstrip("_").replace("_", "-"): _text(value) for name, value in attributes.items()})
    for child in children:
        if isinstance(child, ET.Element):
            made.append(child)
        elif len(made):
            made[-1].tail = (made[-1].tail or "") + _clean(child)
        else:
            made.text = (made.text or "") + _clean(child)
    return made


def _text(value: str | float) -> str:
    return _clean(value) if isinstance(value, str) else f"{value:.2f}".rstrip("0").rstrip(".")


def _clean(text: str) -> str:
    return _CONTROLS.sub("\N{REPLACEMENT CHARACTER}", text)


def page(root: ET.Element) -> str:
    """A whole document."""
    return "<!DOCTYPE html>\n" + ET.tostring(root, encoding="unicode", method="html") + "\n"
