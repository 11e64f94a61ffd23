"""What the demo makes before it starts, and what it refuses to touch."""

from pathlib import Path

import pytest

from wayside.eventing.errors import ConfigurationError
from wayside.local.demo import cli
from wayside.local.demo.prepare import empty_state, model_environment


def test_a_folder_that_no_run_made_is_never_emptied(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ConfigurationError, match="holds files that no demo wrote"):
        empty_state(tmp_path)
    assert (tmp_path / "thesis.txt").exists()


def test_the_folder_of_an_earlier_run_is_emptied(tmp_path: Path) -> None:
    empty_state(tmp_path / "state")
    (tmp_path / "state" / "old.sqlite").touch()
    empty_state(tmp_path / "state")
    assert [path.name for path in (tmp_path / "state").iterdir()] == [".wayside-demo"]


def test_a_missing_environment_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="run scripts/setup"):
        model_environment(tmp_path)


def test_ports_can_be_moved() -> None:
    command = cli.parse(["--once", "--base-port", "21000"], {"WAYSIDE_DEMO_STARTED": "5"})
    assert command.once
    assert command.started_s == 5.0
    ports = sorted(command.demo.ports.values())
    assert ports == list(range(21000, 21000 + 2 * len(ports), 2))


def test_a_bad_flag_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--twice"], {}) == 2
    assert capsys.readouterr().err.count("\n") == 1
