"""The conformance kit's reader: scalars that YAML takes for other things, and cases that fail."""

from pathlib import Path

import pytest
from cesql_conformance import cases, report

KIT = """
name: A file of the kit
tests:
  - name: TRUE
    expression: TRUE
    result: true
  - name: a number
    expression: 017
    result: 17
  - name: times stay strings
    expression: time
    event: {specversion: "1.0", id: a, source: b, type: c, time: 2018-04-26T14:48:09+02:00}
    result: 2018-04-26T14:48:09+02:00
  - name: overrides
    expression: n + LENGTH(id)
    eventOverrides: {n: 1}
    result: 6
  - name: an error without a result
    expression: ABC(
    error: parse
"""
FAILING = """
name: Another
tests:
  - name: one is not true
    expression: TRUE
    result: 1
  - name: an error that none expected
    expression: missing
    result: false
  - name: right
    expression: 1
    result: 1
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    kit = tmp_path / "cesql" / "cesql_tck"
    kit.mkdir(parents=True)
    (kit / "good.yaml").write_text(KIT)
    (kit / "failing.yaml").write_text(FAILING)
    return tmp_path


def test_expressions_are_read_as_strings(checkout: Path) -> None:
    assert [case.expression for case in cases(checkout)][-5:] == ["TRUE", "017", "time", "n + LENGTH(id)", "ABC("]


def test_the_table_and_the_failing_cases(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    faults = report(list(cases(checkout)))
    assert [fault.split(": ")[1] for fault in faults] == ["one is not true", "an error that none expected"]
    assert capsys.readouterr().out.splitlines()[2:] == [
        "| failing.yaml | 3 | 1 |",
        "| good.yaml | 5 | 5 |",
        "| all | 8 | 6 |",
    ]
