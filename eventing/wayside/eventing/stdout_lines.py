"""Lines of JSON or of words on stdout, wherever that leads: a file, a pipe, a terminal, in whichever encoding.

Invariant: printing never fails for what a line holds, and no line steers a terminal. What has to be escaped is written
as JSON escapes it, so that a line of JSON stays one of the same value; all other lines go out as they are.
"""

import re
import sys
from collections.abc import Callable, Iterable

_UNIT = re.compile("....")


def print_lines(lines: Iterable[str]) -> None:
    """Write the lines to stdout, and flush."""
    encoding, is_terminal = sys.stdout.encoding or "utf-8", sys.stdout.isatty()
    sys.stdout.writelines(f"{printable_line(line, encoding, is_terminal)}\n" for line in lines)
    sys.stdout.flush()


def printable_line(line: str, encoding: str, is_terminal: bool) -> str:
    """The line with `\\u…` for what the encoding cannot carry, and on a terminal for what is not printable."""
    if is_terminal and not line.isprintable():
        line = _escape(line, lambda one: one.isprintable() or one == "\t")
    if line.isascii():
        return line
    try:
        line.encode(encoding)
    except UnicodeEncodeError:
        return _escape(line, str.isascii)
    return line


def _escape(line: str, stays: Callable[[str], bool]) -> str:
    return "".join(one if stays(one) else _escaped(one) for one in line)


def _escaped(one: str) -> str:
    """In units of UTF-16; a half of a pair that stands alone is one."""
    return _UNIT.sub(r"\\u\g<0>", one.encode("utf-16-be", "surrogatepass").hex())
