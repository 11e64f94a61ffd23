"""`wayside detect --on`: which side is judged, by which kind of detector."""

from pathlib import Path

import pytest

from wayside.detectors.serving.cli import main, parse
from wayside.detectors.tabular.event_rows import Side
from wayside.eventing.errors import ConfigurationError


@pytest.mark.parametrize("side", list(Side))
def test_the_side_is_a_setting(side: Side, tmp_path: Path) -> None:
    settings = parse(["--artifact", str(tmp_path), "--on", side.value, "--pair-timeout", "5"], {})
    assert (settings.side, settings.join.timeout_s) == (side, 5.0)
    assert parse(["--artifact", str(tmp_path)], {}).side is Side.REQUEST


@pytest.mark.parametrize("flags", [["--on", "answers"], ["--pair-timeout", "0"], ["--pair-bytes", "0"]])
def test_settings_that_make_no_sense_are_refused(flags: list[str], tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError):
        parse(["--artifact", str(tmp_path), *flags], {})


def test_a_row_detector_does_not_judge_pairs(knn_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["--artifact", str(knn_folder), "--on", "pair", "--port", "0", "--admin-port", "0"], {})
    assert status == 2
    assert "--on request or --on response" in capsys.readouterr().err
