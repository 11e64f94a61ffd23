"""The demo's command line: what it is given is checked before anything is drawn, fitted or started."""

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from wayside.eventing.errors import ConfigurationError
from wayside.local.demo.alone import Tally, prepare_alone
from wayside.local.demo.cli import main, parse
from wayside.local.demo.ledger import Answer, Route
from wayside.local.demo.prepare import DRIFT, OUTLIER, DemoSettings

NOBODY = "127.0.0.1:9"


def test_services_are_read_with_their_credentials(tmp_path: Path) -> None:
    flags = ["--kafka", "k1,k2:9093", "--elasticsearch", "https://search", "--wait", "2m", "--state", str(tmp_path)]
    command = parse(flags, {"WAYSIDE_SINK_API_KEY": "hunter2"})
    assert command.demo.kafka == "k1:9092,k2:9093"
    assert command.demo.elasticsearch is not None
    assert command.demo.elasticsearch.api_key == "hunter2"
    assert "hunter2" not in repr(command)
    assert command.wait_s == 120


def test_an_empty_credential_is_none(tmp_path: Path) -> None:
    environment = {"WAYSIDE_SINK_USER": "", "WAYSIDE_SINK_PASSWORD": "", "WAYSIDE_SINK_API_KEY": "hunter2"}
    command = parse(["--elasticsearch", "http://search:9200", "--state", str(tmp_path)], environment)
    assert command.demo.elasticsearch is not None
    assert (command.demo.elasticsearch.user, command.demo.elasticsearch.api_key) == (None, "hunter2")


def test_every_run_has_names_of_its_own(tmp_path: Path) -> None:
    names = {parse(["--state", str(tmp_path)], {}).demo.run_prefix for _ in range(20)}
    assert len(names) == 20


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--kafka", "host:x"], "is not host:port"),
        (["--elasticsearch", "http://me:hunter2@search"], "names a user"),
        (["--elasticsearch", "search:9200"], "search:9200"),
        (["--only", "everything"], "invalid choice"),
        (["--only", "traffic", "--target", "logger"], "logger"),
        (["--wait", "soon"], "is not a time"),
    ],
)
def test_what_does_not_fit_is_one_line_and_status_2(
    flags: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(flags, {}) == 2
    told = capsys.readouterr().err
    assert words in told
    assert "hunter2" not in told
    assert told.count("\n") == 1


@pytest.mark.parametrize("flags", [["--kafka", NOBODY], ["--elasticsearch", f"http://{NOBODY}"]])
async def test_a_service_that_is_away_ends_the_demo_before_it_begins(flags: list[str], tmp_path: Path) -> None:
    state = tmp_path / "state"
    command = parse([*flags, "--wait", "1s", "--state", str(state)], {})
    with pytest.raises(ConfigurationError, match=r"does not answer.* 1 s"):
        await command.demo.services.wait(command.wait_s)
    assert not state.exists()


async def test_services_that_answer_are_not_waited_for(service: Callable[[str], str], tmp_path: Path) -> None:
    flags = ["--kafka", service("KAFKA"), "--elasticsearch", service("ELASTICSEARCH"), "--state", str(tmp_path)]
    command = parse(flags, {})
    await command.demo.services.wait(5.0)


async def test_prepare_alone_leaves_what_containers_read(tmp_path: Path) -> None:
    settings = DemoSettings(tmp_path / "state", Path(), {}, training_rows=50, outlier_rows=3_000, reference_rows=2_000)
    assert await prepare_alone(settings, Console(file=io.StringIO())) == 0
    assert (settings.state / "train.npz").is_file()
    assert {path.name for path in (settings.state / "artifacts").iterdir()} == {OUTLIER, DRIFT}


def test_a_tally_tells_what_was_answered() -> None:
    shown = io.StringIO()
    tally = Tally(Console(file=shown), tell_every_s=0.0)
    tally.record(Answer(tally.now(), Route.THROUGH, "r1", 3, 200, 0.01, "all"))
    tally.record(Answer(tally.now(), Route.THROUGH, "r2", 3, 0, 0.01, "all"))
    assert shown.getvalue().splitlines() == ["answers: 1 of 200", "answers: 1 of 200, 1 of no answer"]
