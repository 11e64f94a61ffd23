"""Files whose columns are no features: what is separated otherwise than by commas, and texts that only number rows."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from wayside.detectors.data.tables.files import read_files
from wayside.detectors.data.tables.reading import Expected, Reading
from wayside.detectors.tabular.table import Table
from wayside.eventing.errors import ConfigurationError


def read(path: str, **reading: Any) -> Table:
    return read_files((path,), Reading(**reading)).table


def column(cells: Sequence[str]) -> bytes:
    return b"x,y\n" + "".join(f"{at},{cell}\n" for at, cell in enumerate(cells)).encode()


NO_CATEGORIES = {
    "semicolons": (b"a;b;c\n1;2;3\n", "one column, 'a;b;c'"),
    "semicolons and no header": (b"1;2\n3;4\n", "one column, '1;2'"),
    "tabs": (b"a\tb\n1\t2\n", "separated by semicolons or tabs"),
    "identities": (column([f"id-{at}" for at in range(120)]), "column 'y': 120 of 120 rows have a text of their own"),
    "times": (column([f"2026-11-21T{at // 60:02}:{at % 60:02}" for at in range(120)]), "as '2026-11-21T00:00'"),
    "decimal commas": (column([f'"{at},5"' for at in range(120)]), "write numbers with points"),
    "mostly": (column([f"id-{max(at, 59)}" for at in range(120)]), None),
    "more than half": (column([f"id-{max(at, 59)}" for at in range(121)]), "61 of 121 rows"),
}


@pytest.mark.parametrize(("content", "reason"), NO_CATEGORIES.values(), ids=NO_CATEGORIES)
def test_a_column_of_texts_that_is_no_category_is_refused(content: bytes, reason: str | None, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    path = f"{tmp_path}/a.csv"
    if reason is None:
        read(path)
        return
    with pytest.raises(ConfigurationError, match=reason):
        read(path)
    if "column 'y'" in reason:
        assert len(read(path, categories=frozenset("y")).categories[1]) == 120
        assert len(read(path, columns=("x",))) == 120
        assert len(read(path, expected=Expected(frozenset("xy"), frozenset("y")))) == 120
