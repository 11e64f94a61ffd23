"""`wayside cesql`: a line for each expression, in order, and exit statuses that scripts can trust."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from wayside.eventing.cesql import cli
from wayside.eventing.cesql.batch import LINE_LIMIT_BYTES

EVENT = {"specversion": "1.0", "id": "e1", "source": "/s", "type": "a.request", "attempt": 3, "hit": True, "n": "3"}
UNREAD = {"value": None, "error": "generic"}


def run(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, list[Any], str]:
    """Exit status, the lines printed (None for an empty one), and what stands on stderr."""
    status = cli.main(argv, {})
    printed = capsys.readouterr()
    return status, [json.loads(line) if line else None for line in printed.out.splitlines()], printed.err


@pytest.fixture
def event(tmp_path: Path) -> str:
    path = tmp_path / "event.json"
    path.write_text(json.dumps({**EVENT, "data": {"attempt": 4}}))
    return str(path)


@pytest.mark.parametrize(
    ("expression", "value", "error"),
    [
        ("attempt", 3, None),
        ("n", "3", None),
        ("hit", True, None),
        ("NOT hit", False, None),
        ("attempt + 1 = 4 AND type LIKE '%.request'", True, None),
        ("attempt LIKE '3'", True, None),
        ("CONCAT('Grün', ' ', hit)", "Grün true", None),
        ("data", False, "missingAttribute"),
        ("EXISTS data", False, None),
        ("nothere", False, "missingAttribute"),
        ("attempt / 0", 0, "math"),
        ("INT(type)", 0, "cast"),
        ("NONE(1)", False, "missingFunction"),
        ("LEFT(type, -1)", "a.request", "functionEvaluation"),
        ("ABC(", False, "parse"),
        ("", False, "parse"),
        ("-attempt", -3, None),
        ("--10", 10, None),
        ("-10", -10, None),
        ("-e", 0, "missingAttribute"),
    ],
)
def test_one_expression(
    expression: str, value: object, error: str | None, event: str, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ("--event", event, "--", expression) if expression == "-e" else (expression, "-e", event)
    status, lines, err = run(capsys, *argv)
    assert (status, lines) == (0, [{"value": value, "error": error}])
    assert lines[0]["value"].__class__ is value.__class__
    assert bool(err) is bool(error)


def test_the_expression_may_stand_anywhere(event: str, capsys: pytest.CaptureFixture[str]) -> None:
    three = [{"value": -3, "error": None}]
    for argv in (("-e", event, "-attempt"), (f"--event={event}", "-attempt"), ("-e", event, "--", "-attempt")):
        assert run(capsys, *argv) == (0, three, "")


def test_the_file_may_touch_its_flag(event: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`-e…` is an expression only where nothing else can be."""
    for argv in ((f"-e{event}", "attempt"), ("attempt", f"-e{event}"), (f"-e{event}", "--", "attempt")):
        assert run(capsys, *argv) == (0, [{"value": 3, "error": None}], "")
    negated = [{"value": 0, "error": "missingAttribute"}]
    assert run(capsys, f"-e{event}", "-elapsed")[1] == negated
    assert run(capsys, "-elapsed")[1] == negated


def test_the_file_of_a_batchs_event_may_touch_its_flag(
    event: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = batch(tmp_path, {"expression": "attempt"})
    for argv in (("--batch", name, f"-e{event}"), (f"-e{event}", f"--batch={name}")):
        assert run(capsys, *argv) == (0, [{"value": 3, "error": None}], "")


def test_what_stdout_cannot_carry_is_escaped() -> None:
    command = [sys.executable, "-m", "wayside.local", "cesql"]
    for arguments, value in ((["'中é'"], "中é"), (["--help"], None)):
        done = subprocess.run(
            [*command, *arguments], env={"PYTHONIOENCODING": "ascii"}, capture_output=True, timeout=60
        )
        assert (done.returncode, done.stderr) == (0, b"")
        assert value is None or json.loads(done.stdout) == {"value": value, "error": None}


def test_without_an_event_every_attribute_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "id")[1] == [{"value": False, "error": "missingAttribute"}]
    assert run(capsys, "EXISTS id")[1] == [{"value": True, "error": None}]


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("type LIKE\n 5", "parse: line 2, column 2: unexpected '5': LIKE takes a string literal"),
        ("nothere = 1", "missingAttribute: the event has no attribute 'nothere'"),
    ],
)
def test_an_error_has_its_reason_on_stderr(expression: str, reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = run(capsys, expression)
    assert (status, err) == (0, f"wayside cesql: {reason}\n")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("", "structured event cannot be read as JSON"),
        ("{", "structured event cannot be read as JSON"),
        ("[]", "structured event is not a JSON object"),
        ('{"specversion": "1.0", "id": "1", "source": "/s"}', "required attribute 'type' is missing or empty"),
        (json.dumps({**EVENT, "n": 1.5}), "attribute 'n' is neither text, integer nor boolean"),
        (json.dumps({**EVENT, "n": [1]}), "attribute 'n' is neither text, integer nor boolean"),
        (json.dumps({**EVENT, "N": "1"}), "extension name 'N' is not allowed"),
        ('{"id": "1", "id": "2"}', "member 'id' is given twice"),
        ("[" * 100_000, "structured event"),
        (" " * (LINE_LIMIT_BYTES + 1), "is longer than 16777216 bytes"),
    ],
)
def test_what_is_no_event_is_refused(
    body: str, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "event.json"
    path.write_text(body)
    status, lines, err = run(capsys, "TRUE", "-e", str(path))
    assert (status, lines) == (2, [])
    assert reason in err
    assert str(path) in err


@pytest.mark.parametrize(
    ("argv", "reason"),
    [
        ((), "give an EXPRESSION, or --batch FILE"),
        (("TRUE", "--batch", "x"), "give an EXPRESSION, or --batch FILE"),
        (("TRUE", "FALSE"), "unrecognized arguments"),
        (("-e",), "expected one argument"),
        (("--batch", "-", "-e", "-"), "cannot both be read from stdin"),
        (("TRUE", "-e", "/no/such/event.json"), "cannot read /no/such/event.json: No such file or directory"),
        (("--batch", "/no/such/file.jsonl"), "cannot read /no/such/file.jsonl: No such file or directory"),
        (("--batch", "/"), "cannot read /: Is a directory"),
    ],
)
def test_a_wrong_setting_is_one_line_and_status_2(
    argv: tuple[str, ...], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status, lines, err = run(capsys, *argv)
    assert (status, lines, err.count("\n")) == (2, [], 1)
    assert reason in err


def batch(tmp_path: Path, *lines: object) -> str:
    path = tmp_path / "batch.jsonl"
    path.write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines))
    return str(path)


def test_a_batch_has_a_line_for_each_in_order(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = batch(
        tmp_path,
        {"expression": "attempt + 1", "event": EVENT},
        {"expression": "ABC("},
        {"expression": "id", "event": None},
        {"expression": "'Grün'", "name": "other members are not looked at"},
        {"expression": "TRUE" * 20_000},
    )
    status, lines, err = run(capsys, "--batch", name)
    assert (status, [(line["value"], line["error"]) for line in lines]) == (
        0,
        [(4, None), (False, "parse"), (False, "missingAttribute"), ("Grün", None), (False, "parse")],
    )
    assert f"wayside cesql: {name} line 2: parse: line 1, column 5: " in err


def test_bad_lines_lose_no_other_and_keep_their_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad: list[object] = [
        "nonsense",
        "[" * 100_000,
        ["expression"],
        {"expression": 1},
        {"event": EVENT},
        {"expression": "id", "event": {"id": "1"}},
        {"expression": "id", "event": "e1"},
        {"expression": "id", "event": {**EVENT, "subject": "\ud800"}},
        '{"expression": "id", "event": ' + '{"a":' * 600 + "1" + "}" * 601,
        '{"expression": "' + "x" * LINE_LIMIT_BYTES + '"}',
    ]
    good = {"expression": "id", "event": EVENT}
    name = batch(tmp_path, *(line for each in bad for line in (each, good)))
    status, lines, err = run(capsys, "--batch", name)
    assert status == 2
    assert lines == [UNREAD, {"value": "e1", "error": None}] * len(bad)
    told = [line.split(": ")[1] for line in err.splitlines()]
    assert told == [f"{name} line {number}" for number in range(1, 2 * len(bad), 2)]


def test_an_empty_line_is_answered_by_an_empty_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = batch(tmp_path, {"expression": "1"}, "", " ", {"expression": "2"})
    assert run(capsys, "--batch", name) == (
        0,
        [{"value": 1, "error": None}, None, None, {"value": 2, "error": None}],
        "",
    )


def test_a_lines_own_event_goes_before_that_of_e(
    event: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = {"expression": "id", "event": {**EVENT, "id": "e2"}}
    name = batch(tmp_path, {"expression": "id"}, other)
    _, lines, _ = run(capsys, "--batch", name, "-e", event)
    assert [line["value"] for line in lines] == ["e1", "e2"]


def test_a_batch_comes_from_stdin_line_by_line() -> None:
    command = [sys.executable, "-c", "from wayside.local.cli import entry; entry()", "cesql", "--batch", "-"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for number in range(3):  # each is answered before the next one is sent
            process.stdin.write(b'{"expression": "%d"}\n' % number)
            process.stdin.flush()
            assert json.loads(process.stdout.readline()) == {"value": number, "error": None}
        process.stdin.write(b'{"expression": "TRUE"}')
        process.stdin.close()
        assert json.loads(process.stdout.read()) == {"value": True, "error": None}
        assert process.wait(10) == 0


def test_whoever_has_read_enough_may_close() -> None:
    program = "import sys; from wayside.local.cli import main; sys.exit(main(['cesql', '--batch', '-'], {}))"
    lines = b'{"expression": "1"}\n' * 20_000
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.close()
        _, err = process.communicate(lines)
        assert (process.returncode, err) == (1, b"")


def test_help_says_what_the_status_means(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        cli.main(["--help"], {})
    assert "exit status: 0 where everything was evaluated" in capsys.readouterr().out
