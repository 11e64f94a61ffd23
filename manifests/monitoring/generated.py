"""Files that are made from other files: written on demand, and compared where they must not have been edited by hand.

Invariant: with `--check` nothing is written; exit status 1 says that a file differs from what makes it.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

CHECK = "--check"


def write_or_check(path: Path, text: str, maker: str, argv: Sequence[str]) -> int:
    """Write `text` to `path`, or with `--check` compare them. `maker` is the command that the error names.

    Returns the exit status: 2 for any other argument.
    """
    if list(argv) not in ([], [CHECK]):
        print(f"{maker}: takes no argument but {CHECK}", file=sys.stderr)
        return 2
    if not argv:
        path.write_text(text, encoding="utf-8")
        return 0
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return 0
    print(f"{path} is not what makes it: run 'python {maker}'", file=sys.stderr)
    return 1
