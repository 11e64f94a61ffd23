"""docs/filters.md shows what the command prints, and examples that load."""

import re
from pathlib import Path

import pytest

from wayside.eventing.triggers.cli import main
from wayside.eventing.triggers.documents import documents_of

DOC = (Path(__file__).parents[2] / "docs" / "filters.md").read_text()
YAML, LINES, PRINTED, DIALECTS = re.findall(r"```\w*\n(.*?)```", DOC, re.DOTALL)
NAMES = ("exact", "prefix", "suffix", "all", "any", "not", "cesql")


def test_the_command_prints_what_the_page_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "triggers.yaml").write_text(YAML)
    (tmp_path / "events.jsonl").write_text(LINES)
    assert main(["test", "-f", "triggers.yaml", "-e", "events.jsonl"], {}) == 2
    printed = capsys.readouterr()
    assert printed.out + printed.err == PRINTED


def test_every_dialect_has_an_example_that_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert re.findall(r"^- (\w+):", DIALECTS, re.MULTILINE) == list(NAMES)
    monkeypatch.chdir(tmp_path)
    head, _, tail = YAML.partition("  filters:\n")
    text = (
        head
        + "  filters:\n"
        + re.sub("^", "    ", DIALECTS, flags=re.MULTILINE)
        + "\n  subscriber:"
        + tail.split("  subscriber:")[1]
    )
    assert len(list(documents_of(text.encode(), "f.yaml"))) == 1
    (tmp_path / "f.yaml").write_text(text)
    (tmp_path / "events.jsonl").write_text(LINES.splitlines()[0])
    assert main(["test", "-f", "f.yaml", "-e", "events.jsonl"], {}) == 0
    assert "exact: inferenceservicename is 'fraud-eu', not 'fraud'" in capsys.readouterr().out
