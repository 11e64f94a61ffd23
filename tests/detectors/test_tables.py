"""Files as tables: every format gives the rows that it holds, and refuses what it cannot give, with the place."""

import csv
import json
import os
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wayside.detectors.data.tables.files import read_files
from wayside.detectors.data.tables.reading import Expected, Header, Reading
from wayside.detectors.tabular.table import Table
from wayside.eventing.errors import ConfigurationError

Files = Callable[[str, bytes], str]
NAN = float("nan")


@pytest.fixture
def file(tmp_path: Path) -> Files:
    def write(name: str, content: bytes) -> str:
        (tmp_path / name).write_bytes(content)
        return str(tmp_path / name)

    return write


def read(*specs: str, **reading: Any) -> Table:
    return read_files(specs, Reading(**reading)).table


CASES: dict[str, tuple[str, bytes, list[list[float]], tuple[str, ...] | None, dict[int, tuple[str, ...]]]] = {
    "csv with a header": ("a.csv", b"\xef\xbb\xbfx,y\r\n1,2\r\n\r\n3,4e2\r\n", [[1, 2], [3, 400]], ("x", "y"), {}),
    "csv without": ("a.csv", b"1,2\n3,4\n", [[1, 2], [3, 4]], None, {}),
    "csv with gaps": ("a.csv", b"x,y\n1,\n,4\n", [[1, NAN], [NAN, 4]], ("x", "y"), {}),
    "csv that begins with gaps": ("a.csv", b",2\n1,\n", [[NAN, 2], [1, NAN]], None, {}),
    "csv with texts": ("a.csv", b"x,y\n1,tcp\n2,icmp\n3,\n", [[1, 1], [2, 0], [3, NAN]], ("x", "y"),
                       {1: ("icmp", "tcp")}),
    "csv with texts and no names": ("a.csv", b"0,tcp\n1,udp\n", [[0, 0], [1, 1]], ("0", "1"), {1: ("tcp", "udp")}),
    "csv with quotes": ("a.csv", b'x,y\n1,"a,b\nc"\n', [[1, 0]], ("x", "y"), {1: ("a,b\nc",)}),
    "lists": ("a.jsonl", b"[1, 2.5]\n\n[3, null]\n", [[1, 2.5], [3, NAN]], None, {}),
    "lists with texts": ("a.jsonl", b'[1, "b"]\n[2, "a"]\n', [[1, 1], [2, 0]], ("0", "1"), {1: ("a", "b")}),
    "objects": ("a.jsonl", b'{"x": 1, "y": "u"}\n{"y": "v", "x": true}\n{"x": 2}\n', [[1, 0], [1, 1], [2, NAN]],
                ("x", "y"), {1: ("u", "v")}),
    "V1 rows": ("a.jsonl", b'{"instances": [[1, 2], [3, 4]]}\n{"instances": [[5, 6]]}\n',
                [[1, 2], [3, 4], [5, 6]], None, {}),
    "V1 objects": ("a.jsonl", b'{"instances": [{"x": 1, "y": "u"}]}\n{"instances": [{"y": "v", "x": 2}]}\n',
                   [[1, 0], [2, 1]], ("x", "y"), {1: ("u", "v")}),
    "V2 columns": ("a.jsonl", b'{"inputs": [{"name": "b", "shape": [2], "datatype": "FP32", "data": [1, 2]},'
                   b' {"name": "a", "shape": [2, 1], "datatype": "BYTES", "data": ["u", "v"]}]}\n',
                   [[1, 0], [2, 1]], ("b", "a"), {1: ("u", "v")}),
    "lists of lists": ("a.ndjson", b"[[1, 2], [3, 4]]\n", [[1, 2], [3, 4]], None, {}),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_text_file_gives_its_rows(case: Any, file: Files) -> None:
    name, content, values, names, categories = case
    table = read(file(name, content))
    assert np.array_equal(table.values, np.array(values, np.float64), equal_nan=True)
    assert (table.names, dict(table.categories)) == (names, categories)


REFUSED = {
    "nothing": ("a.csv", b"", "holds no rows"),
    "a header alone": ("a.csv", b"x,y\n", "holds no rows"),
    "a short line": ("a.csv", b"x,y\n1,2\n3\n", "line 3: 1 columns where the others have 2"),
    "a text among numbers": ("a.csv", b"1,2\n3,four\n", "line 2, column 2: 'four' is no number, as other rows have"),
    "a number among texts": (
        "a.csv",
        b"x,y\n1,a\n3,4\n",
        "line 3, column 'y': 4 is a number where other rows have texts",
    ),
    "an underscore": ("a.csv", b"x\n1\n1_000\n", "line 3, column 'x': '1_000' is no number"),
    "no UTF-8": ("a.csv", b"1,\xff\n", "cannot read"),
    "an open quote": ("a.csv", b'x\n1\n"2\n', "cannot read"),
    "an integer too exact": (
        "a.csv",
        b"x\n9007199254740993\n",
        "line 2, column 'x': float64 would round 90071992547409",
    ),
    "names twice": ("a.csv", b"x,x\n1,2\n", "two columns named 'x'"),
    "no lines": ("a.jsonl", b"\n\n", "holds no rows"),
    "no JSON": ("a.jsonl", b"[1, 2]\n[3,\n", "line 2"),
    "a scalar": ("a.jsonl", b"7\n", "line 1: neither a list, nor an object"),
    "a ragged list": ("a.jsonl", b"[1, 2]\n[3]\n", "line 2: 1 values where others have 2"),
    "a list of nothing": ("a.jsonl", b"[]\n", "none of the columns"),
    "another form": ("a.jsonl", b"[1]\n\n{}\n", "line 3: no list"),
    "a new name": ("a.jsonl", b'{"x": 1}\n{"x": 1, "y": 2}\n', "line 2: the first line has no feature 'y'"),
    "a part": ("a.jsonl", b"[1]\n[[2]]\n", "line 2, column 1: a list or an object is no value"),
    "a ragged payload": ("a.jsonl", b'{"instances": [[1], [2, 3]]}\n', "line 1"),
    "a wider payload": (
        "a.jsonl",
        b'{"instances": [[1]]}\n{"instances": [[2, 3]]}\n',
        "line 2: rows have columns 0, 1",
    ),
    "a huge integer": ("a.jsonl", b"[1]\n[1" + b"0" * 400 + b"]\n", "line 2, column 1: an integer is too large"),
    "an integer that is rounded": ("a.jsonl", b"[9007199254740993]\n", "line 1, column 1: float64 would round"),
    "no array": ("a.npy", b"not an array", "cannot read"),
    "an empty array file": ("a.npy", b"", "cannot read"),
    "an empty archive": ("a.npz", b"", "cannot read"),
    "no Parquet": ("a.parquet", b"PAR1", "cannot read"),
    "an unknown format": ("a.feather", b"", "no .npy, .npz"),
}


@pytest.mark.parametrize(("name", "content", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_table_is_refused_with_its_place(name: str, content: bytes, reason: str, file: Files) -> None:
    with pytest.raises(ConfigurationError) as refused:
        read(file(name, content))
    assert reason in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("cell", ["nan", "NaN", "-nan", ""])
def test_a_cell_that_is_not_a_number_is_missing_whatever_its_column(cell: str, file: Files) -> None:
    path = file("a.csv", f"x,y\n{cell},a\n1,{cell}\n2,b\n".encode())
    table = read(path, categories=frozenset("y"))
    assert np.array_equal(table.values, [[NAN, 0], [1, NAN], [2, 1]], equal_nan=True)
    assert np.array_equal(read(path).values, table.values, equal_nan=True)
    with pytest.raises(ConfigurationError, match="row 1 has no label"):
        read(path, label="y", ordinary=frozenset("a"))


@pytest.mark.parametrize("text", ["nan", "NaN", "", " "])
def test_a_text_that_says_nothing_is_no_label(text: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", X=np.ones((3, 2)), y=np.array(["1", text, "0"]))
    with pytest.raises(ConfigurationError, match="which says nothing: leave such rows out"):
        read(f"{tmp_path}/a.npz:X", label=f"{tmp_path}/a.npz:y", ordinary=frozenset("1"))


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.npy", "a.npz", "a.parquet"])
def test_a_fifo_is_refused_and_not_waited_for(name: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / name)
    np.save(tmp_path / "rows.npy", np.ones((3, 2)))
    with pytest.raises(ConfigurationError, match="no regular file"):
        read(f"{tmp_path}/{name}")
    with pytest.raises(ConfigurationError, match="no regular file"):
        read(f"{tmp_path}/rows.npy", label=f"{tmp_path}/{name}")


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.zeros(5), "shape"),
        (np.zeros((0, 3)), "shape"),
        (np.zeros((5, 0)), "shape"),
        (np.array([["a", "b"]]), "not numbers"),
        (np.array([[1, 2], [3, 2**53 + 1]]), "row 1, column 2: float64 would round"),
    ],
    ids=["flat", "no row", "no column", "texts", "too exact"],
)
def test_bad_arrays_are_refused(array: np.ndarray, reason: str, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(ConfigurationError, match=reason):
        read(str(tmp_path / "a.npy"))


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([print], dtype=object), allow_pickle=True)
    with pytest.raises(ConfigurationError, match="cannot read"):
        read(str(tmp_path / "a.npy"))


def test_an_archive_of_several_arrays_wants_a_name(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.ones((3, 2, 2)), y=np.ones((3, 1)))
    with pytest.raises(ConfigurationError, match="holds x, y: name one"):
        read(f"{tmp_path}/a.npz")
    assert read(f"{tmp_path}/a.npz:x").values.shape == (3, 4)


def parquet(folder: Path, **columns: Any) -> str:
    pq.write_table(pa.table(columns), folder / "a.parquet", row_group_size=2)
    return str(folder / "a.parquet")


def test_parquet_has_names_nulls_and_dictionaries(tmp_path: Path) -> None:
    columns = {
        "x": [1, None, 3],
        "f": [True, False, None],
        "y": pa.array(["u", "v", None]).dictionary_encode(),
        "z": ["b", "a", "b"],
    }
    table = read(parquet(tmp_path, **columns))
    expected = [[1, 1, 0, 1], [NAN, 0, 1, 0], [3, NAN, NAN, 1]]
    assert np.array_equal(table.values, expected, equal_nan=True)
    assert table.names == ("x", "f", "y", "z")
    assert dict(table.categories) == {2: ("u", "v"), 3: ("a", "b")}


def test_parquet_of_other_types_is_refused_unless_it_is_left_out(tmp_path: Path) -> None:
    path = parquet(tmp_path, x=[1.0, 2.0], when=pa.array([0, 1], pa.timestamp("s")), big=[1, 2**53 + 1])
    with pytest.raises(ConfigurationError, match="column 'when' is timestamp"):
        read(path)
    with pytest.raises(ConfigurationError, match=r"column 'big'.*would round"):
        read(path, columns=("x", "big"))
    assert read(path, columns=("x",)).values.tolist() == [[1.0], [2.0]]


def test_parquet_with_a_name_twice_is_refused_unless_it_is_left_out(tmp_path: Path) -> None:
    path = str(tmp_path / "a.parquet")
    pq.write_table(pa.table([[1.0], [2.0], [3.0]], names=["a", "a", "b"]), path)
    with pytest.raises(ConfigurationError, match="two columns named 'a'"):
        read(path)
    assert read(path, columns=("b",)).values.tolist() == [[3.0]]


@pytest.mark.parametrize(
    ("text", "value"),
    [("9007199254740993", None), ("1152921504606846976", 2.0**60), ("0.1", 0.1), ("12345678901234567.25", None),
     ("-1.5", -1.5)],
)  # fmt: skip
def test_a_decimal_that_would_be_rounded_is_refused(text: str, value: float | None, tmp_path: Path) -> None:
    path = parquet(tmp_path, x=pa.array([Decimal(1), None, Decimal(text)], pa.decimal128(38, 10)))
    if value is None:
        with pytest.raises(ConfigurationError, match=rf"row 2, column 'x': float64 would round {text}"):
            read(path)
    else:
        assert np.array_equal(read(path).values, [[1], [NAN], [value]], equal_nan=True)


def test_columns_are_chosen_and_ordered(file: Files) -> None:
    assert read(file("a.csv", b"x,y,z\n1,t,3\n"), columns=("z", "x")).values.tolist() == [[3, 1]]
    assert read(file("b.csv", b"1,2,3\n"), columns=("2", "0")).values.tolist() == [[3, 1]]
    with pytest.raises(ConfigurationError, match="no column 'w': it has"):
        read(file("a.csv", b"x,y\n1,2\n"), columns=("x", "w"))


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.npy", "a.parquet"])
def test_numbers_may_be_a_category(name: str, tmp_path: Path, file: Files) -> None:
    """Their texts are those that a payload's numbers get: 80.0 is '80'."""
    path = str(tmp_path / name)
    if name == "a.csv":
        file(name, b"x,port\n1,80.0\n2,443\n3,\n")
    elif name == "a.jsonl":
        file(name, b'{"x": 1, "port": 80.0}\n{"x": 2, "port": 443}\n{"x": 3}\n')
    elif name == "a.npy":
        np.save(path, [[1, 80], [2, 443], [3, NAN]])
    else:
        parquet(tmp_path, x=[1, 2, 3], port=[80, 443, None])
    table = read(path, categories=frozenset(("1" if name == "a.npy" else "port",)))
    assert dict(table.categories) == {1: ("443", "80")}
    assert np.array_equal(table.values, [[1, 1], [2, 0], [3, NAN]], equal_nan=True)


def test_a_header_is_told_apart_or_said(file: Files) -> None:
    path = file("a.csv", b"a,b\nc,d\n")
    assert len(read(path)) == 1
    assert len(read(path, header=Header.NO)) == 2
    assert read(file("b.csv", b"1,2\n3,4\n"), header=Header.YES).names == ("1", "2")


def test_files_are_joined_by_their_columns(file: Files) -> None:
    one, two = file("one.csv", b"x,y\n1,a\n2,c\n"), file("two.jsonl", b'{"x": 3, "y": "b"}\n')
    rows = read_files((one, two), Reading())
    assert rows.table.values.tolist() == [[1, 0], [2, 2], [3, 1]]
    assert rows.table.categories[1] == ("a", "b", "c")
    assert [(origin.name, origin.rows) for origin in rows.origins] == [("one.csv", 2), ("two.jsonl", 1)]
    with pytest.raises(ConfigurationError, match="file 2 and of the first differ in columns"):
        read(one, file("three.csv", b"x,z\n1,a\n"))
    with pytest.raises(ConfigurationError, match="column 'y' holds texts in one"):
        read(one, file("four.csv", b"x,y\n1,2\n"))


LABELLED = b"x,label\n1,0\n2,1\n3,0\n"


@pytest.mark.parametrize(
    ("content", "reading", "labels"),
    [
        (LABELLED, {"label": "label"}, [False, True, False]),
        (b"x,label\n1,normal.\n2,smurf.\n", {"label": "label", "ordinary": frozenset(("normal.",))}, [False, True]),
        (b"x,label\n1,1\n2,-1\n", {"label": "label", "ordinary": frozenset("1")}, [False, True]),
        (b"1,0\n2,1\n", {"label": "1"}, [False, True]),
    ],
    ids=["0 and 1", "texts", "-1 and 1", "by position"],
)
def test_labels_stand_apart(content: bytes, reading: Any, labels: list[bool], file: Files) -> None:
    table = read(file("a.csv", content), **reading)
    assert table.labels is not None
    assert table.labels.tolist() == labels
    assert table.values.shape[1] == 1


@pytest.mark.parametrize(
    ("content", "reading", "reason"),
    [
        (LABELLED, {"label": "nothing"}, "no column 'nothing'"),
        (b"x,label\n1,0\n2,\n", {"label": "label"}, "row 1 has no label"),
        (b"x,label\n1,good\n2,bad\n", {"label": "label"}, "labels bad, good"),
        (b"x,label\n1,2\n2,3\n", {"label": "label"}, "labels 2, 3"),
        (LABELLED, {"label": "label", "ordinary": frozenset("x")}, "no row has the label 'x'"),
        (b"label\n0\n", {"label": "label"}, "no column but the label"),
    ],
    ids=["unknown", "missing", "texts", "numbers", "unseen", "alone"],
)
def test_labels_are_never_guessed(content: bytes, reading: Any, reason: str, file: Files) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        read(file("a.csv", content), **reading)


def test_labels_may_be_another_array_or_file(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", X=np.ones((3, 2)), y=np.array([0, 1, 0]))
    np.save(tmp_path / "y.npy", np.array([False, True, False]))
    (tmp_path / "y.csv").write_text("label\n0\n1\n0\n")
    for data, label in (("a.npz:X", "y"), ("a.npz", "y"), ("a.npz:X", f"{tmp_path}/a.npz:y"),
                        ("a.npz:X", f"{tmp_path}/y.npy"), ("a.npz:X", f"{tmp_path}/y.csv")):  # fmt: skip
        labels = read(f"{tmp_path}/{data}", label=label).labels
        assert labels is not None
        assert labels.tolist() == [False, True, False]
    np.save(tmp_path / "y.npy", np.zeros(4))
    with pytest.raises(ConfigurationError, match="4 labels, the data has 3 rows"):
        read(f"{tmp_path}/a.npz:X", label=f"{tmp_path}/y.npy")


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.npy", "a.npz"])
def test_size_is_bounded(name: str, tmp_path: Path, file: Files) -> None:
    rows = np.ones((300, 4))
    path = str(tmp_path / name)
    if name == "a.csv":
        file(name, b"1,2,3,4\n" * 300)
    elif name == "a.jsonl":
        file(name, b"[1, 2, 3, 4]\n" * 300)
    elif name == "a.npy":
        np.save(path, rows.astype(np.uint8))
    else:
        np.savez_compressed(path, rows)
    with pytest.raises(ConfigurationError, match="--data-limit"):
        read(path, limit_bytes=9000)
    assert len(read(path, limit_bytes=9600)) == 300


def test_only_what_a_detector_takes_is_read(file: Files) -> None:
    path = file("a.csv", b"x,note,y\n1,a,80\n2,7,443\n")
    expected = Expected(frozenset("xy"), frozenset("y"))
    table = read(path, expected=expected)
    assert (table.names, dict(table.categories)) == (("x", "y"), {1: ("443", "80")})


CELLS = st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False), st.integers(-(2**53), 2**53))
TEXTS = st.one_of(st.none(), st.text("abcdefghij ,\"'\u00e9\u4e2d", min_size=1, max_size=6).map(str.strip).filter(bool))


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(st.tuples(CELLS, TEXTS, CELLS), min_size=1, max_size=20))
def test_equal_rows_in_any_format_are_equal_tables(rows: list[Any], tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("rows")
    rows = [(1.5, "text", 2.5), *rows]
    with (folder / "a.csv").open("w", encoding="utf-8", newline="") as out:
        cells = [
            ["" if cell is None else repr(cell) if not isinstance(cell, str) else cell for cell in row] for row in rows
        ]
        csv.writer(out).writerows([["x", "y", "z"], *cells])
    (folder / "a.jsonl").write_text("".join(json.dumps(dict(zip("xyz", row, strict=True))) + "\n" for row in rows))
    texts = [row[1] for row in rows]
    parquet(
        folder,
        x=pa.array([row[0] for row in rows], pa.float64()),
        y=texts,
        z=pa.array([row[2] for row in rows], pa.float64()),
    )
    tables = [read(str(folder / name)) for name in ("a.csv", "a.jsonl", "a.parquet")]
    assert len({table.digest() for table in tables}) == 1
    numbers = tables[0].select(("x", "z"))
    np.savez(folder / "a.npz", numbers.values)
    assert np.array_equal(read(str(folder / "a.npz")).values, numbers.values, equal_nan=True)
