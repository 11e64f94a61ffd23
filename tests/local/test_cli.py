"""The `wayside` command: help, unknown words, and a missing extra are one line each."""

import subprocess
import sys
from pathlib import Path

import pytest

from wayside.local import cli, up

MISSING = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name == "httptools" or name.startswith("httptools."):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Missing())
from wayside.local.cli import main
sys.exit(main(["logger"], {}))
"""


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([], {}) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in cli.COMMANDS)


def test_an_unknown_command_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["detekt"], {}) == 2
    assert capsys.readouterr().err == "wayside: no command 'detekt'; 'wayside --help' lists them\n"


def test_a_missing_extra_is_named() -> None:
    done = subprocess.run([sys.executable, "-c", MISSING], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.strip().endswith("pip install 'wayside[logger]'")


def test_up_wants_a_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert up.main([], {}) == 2
    assert "name your model server" in capsys.readouterr().err


def test_up_reads_flags_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "wayside.yaml"
    file.write_text("service: a\nupstream: http://127.0.0.1:1")
    settings = up.parse(["-f", str(file), "--service", "b"], {"WAYSIDE_UP_UPSTREAM": "http://127.0.0.1:2"})
    assert settings.composition.service == "b"
    assert settings.composition.upstream == "http://127.0.0.1:2"
    assert settings.composition.state == tmp_path / ".state/up"
