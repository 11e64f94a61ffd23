"""`wayside trigger test`: why does my Trigger not fire?"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from wayside.eventing.triggers.cli import main
from wayside.eventing.triggers.event_lines import Refusal, read_event_file, read_event_stream

BROKER = "apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {name: NAME, namespace: shop}\n---\n"
TRIGGERS = """
apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata: {name: gold, namespace: shop}
spec:
  broker: main
  filters: [{exact: {tier: gold}}]
  subscriber: {ref: {kind: Service, name: nowhere}}
---
apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata: {name: all, namespace: shop}
spec: {broker: main, subscriber: {uri: "http://there/"}}
"""


def event(number: int, **attributes: str) -> dict[str, Any]:
    return {"specversion": "1.0", "id": str(number), "source": "/s", "type": "t", **attributes}


def jsonl(*events: dict[str, Any] | str) -> str:
    return "".join((one if isinstance(one, str) else json.dumps(one)) + "\n" for one in events)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.yaml").write_text(TRIGGERS)
    (tmp_path / "e.jsonl").write_text(jsonl(event(1, tier="gold"), event(2, tier="tin")))
    return tmp_path


def answers(capsys: pytest.CaptureFixture[str]) -> list[tuple[str, str, bool, str]]:
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert all(list(line) == ["trigger", "event", "passes", "because"] for line in lines)
    return [tuple(line.values()) for line in lines]


def test_a_line_for_each_trigger_and_event(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["test", "-f", "t.yaml", "-e", "e.jsonl"], {}) == 0
    everything = "the Trigger has no filter: every event passes"
    assert answers(capsys) == [
        ("gold", "1", True, "exact: tier is 'gold'"),
        ("all", "1", True, everything),
        ("gold", "2", False, "exact: tier is 'tin', not 'gold'"),
        ("all", "2", True, everything),
    ]


@pytest.mark.parametrize(
    ("arguments", "because"),
    [
        (["--trigger", "gold"], "exact: the event has no attribute 'tier'"),
        (["--trigger", "shop/gold", "--broker", "shop/main"], "exact: the event has no attribute 'tier'"),
        (["--trigger", "gold", "--broker", "other"], "it listens to the broker shop/main, not to default/other"),
        (["--trigger", "shop/main/gold"], "exact: the event has no attribute 'tier'"),
        (["--trigger", "gold", "-f", "main.yaml"], "exact: the event has no attribute 'tier'"),
        (["--trigger", "gold", "-f", "other.yaml"],
         "its broker shop/main is not in these files: there is shop/other"),
        (["--trigger", "gold", "-f", "other.yaml,third.yaml"],
         "its broker shop/main is not in these files: there are shop/other, shop/third"),
    ],
)  # fmt: skip
def test_what_else_keeps_a_trigger_from_firing(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], because: str
) -> None:
    for name in ("main", "other", "third"):
        (folder / f"{name}.yaml").write_text(BROKER.replace("NAME", name))
    (folder / "one.json").write_text(json.dumps(event(1), indent=1))
    assert main(["test", "-f", "t.yaml", "-e", "one.json", *arguments], {}) == 0
    assert answers(capsys) == [("gold", "1", False, because)]


def test_the_ttl_is_spent_and_hidden_from_filters(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "f.yaml").write_text(TRIGGERS.replace("{tier: gold}", "{knativebrokerttl: '7'}"))
    (folder / "e.jsonl").write_text(jsonl(event(1, knativebrokerttl="1"), event(2, knativebrokerttl="7")))
    assert main(["test", "-f", "f.yaml", "-e", "e.jsonl", "--trigger", "gold"], {}) == 0
    assert [because for *_, because in answers(capsys)] == [
        "the broker refuses the event: its knativebrokerttl of 1 is spent",
        "exact: the event has no attribute 'knativebrokerttl'",
    ]


def test_names_have_their_namespace_where_there_are_several(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "u.yaml").write_text(TRIGGERS.replace("shop", "lab"))
    (folder / "e.jsonl").write_text(jsonl(event(1)))
    assert main(["test", "-f", "t.yaml", "-f", "u.yaml", "-e", "e.jsonl"], {}) == 0
    assert [name for name, *_ in answers(capsys)] == ["shop/gold", "shop/all", "lab/gold", "lab/all"]


def test_an_event_that_cannot_be_read_is_told_by_its_line_and_loses_no_other(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = jsonl(event(1, tier="gold"), "{", "", '{"specversion": "1.0", "id": "3"}', event(4))
    (folder / "e.jsonl").write_text(lines)
    assert main(["test", "-f", "t.yaml", "-e", "e.jsonl", "--trigger", "gold"], {}) == 2
    printed = capsys.readouterr()
    assert [json.loads(line)["event"] for line in printed.out.splitlines()] == ["1", "4"]
    first, second = printed.err.splitlines()
    assert first.startswith("wayside trigger: e.jsonl: line 2: ")
    assert second == "wayside trigger: e.jsonl: line 4: required attribute 'source' is missing or empty"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["-f", "gone.yaml", "-e", "e.jsonl"], "cannot read gone.yaml: No such file or directory"),
        (["-f", "t.yaml", "-e", "gone.jsonl"], "cannot read gone.jsonl: No such file or directory"),
        (["-f", "bad.yaml", "-e", "e.jsonl"], "bad.yaml:7:13: document 1: spec.filters[0]: names no dialect"),
        (["-f", "none.yaml", "-e", "e.jsonl"], "no Trigger in none.yaml"),
        (
            ["-f", "t.yaml", "-e", "e.jsonl", "--trigger", "x"],
            "no Trigger is called 'x': there are shop/main/all, shop/main/gold",
        ),
        (
            ["-f", "t.yaml", "-f", "u.yaml", "-e", "e.jsonl", "--trigger", "gold"],
            "several Triggers are called 'gold': lab/main/gold, shop/main/gold",
        ),
        (["-f", "t.yaml", "-e", "e.jsonl", "--broker", "a/b/c"], "argument --broker: 'a/b/c' is not NAMESPACE/NAME"),
        (["-f", "t.yaml"], "the following arguments are required: -e/--events"),
    ],
)
def test_what_is_wrong_is_told_in_a_line(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    (folder / "bad.yaml").write_text(TRIGGERS.replace("{exact: {tier: gold}}", "{}"))
    (folder / "none.yaml").write_text("")
    (folder / "u.yaml").write_text(TRIGGERS.replace("shop", "lab"))
    assert main(["test", *arguments], {}) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    (line,) = printed.err.splitlines()
    assert line.startswith(f"wayside trigger: {says}")


def test_the_command_reads_stdin_and_takes_files_from_the_environment(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "wayside.local", "trigger", "test", "-e", "-", "--trigger", "all"],
        input=jsonl(event(1), "x"),
        env={"WAYSIDE_TRIGGER_FILE": str(folder / "t.yaml")},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert json.loads(done.stdout)["passes"] is True
    assert done.stderr.startswith("wayside trigger: -: line 2: ")


def test_what_stdout_cannot_carry_is_escaped(folder: Path) -> None:
    (folder / "e.jsonl").write_text(jsonl({**event(1), "id": "中é\U0001f600\x9b"}))
    done = subprocess.run(
        [sys.executable, "-m", "wayside.local", "trigger", "test", "-f", "t.yaml", "-e", "e.jsonl", "--trigger", "all"],
        env={"PYTHONIOENCODING": "latin-1"},
        capture_output=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.isascii()
    assert json.loads(done.stdout)["event"] == "中é\U0001f600\x9b"


def read(lines: list[bytes]) -> list[str]:
    return [one.reason if isinstance(one, Refusal) else one.id for one in read_event_stream(lines)]


def test_a_stream_is_answered_line_by_line_and_an_array_or_a_shown_event_as_a_whole() -> None:
    one, two = json.dumps(event(1)).encode(), json.dumps(event(2)).encode()

    def stream() -> Any:
        yield one + b"\n"
        raise RuntimeError("the first event was not answered before the second was read")

    assert next(read_event_stream(stream())).id == "1"  # type: ignore[union-attr]
    assert read([one + b"\n", b"\n", two]) == ["1", "2"]
    assert read([b"[" + one + b",\n", two + b"]"]) == ["1", "2"]
    assert read(json.dumps(event(3), indent=1).encode().splitlines(keepends=True)) == ["3"]
    assert read([]) == [read([b""])[0]]
    assert read([b"{", one]) == ["event 1: " + read([b"{", one])[0].removeprefix("event 1: ")]


def test_logged_events_and_refusals_of_an_array_have_their_place(folder: Path) -> None:
    shown = {"context": event(7), "extensions": {"tier": "gold"}, "data": None}
    (folder / "shown.json").write_text(json.dumps([shown, {"id": "8"}]))
    first, second = read_event_file("shown.json")
    assert not isinstance(first, Refusal)
    assert first.extensions == {"tier": "gold"}
    assert isinstance(second, Refusal)
    assert second.reason.startswith("event 2: ")


def test_a_reader_that_has_seen_enough_ends_it(folder: Path) -> None:
    (folder / "e.jsonl").write_text(jsonl(*map(event, range(5000))))
    command = [sys.executable, "-m", "wayside.local", "trigger", "test", "-f", "t.yaml", "-e", "e.jsonl"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        assert running.stdout.readline().startswith(b'{"trigger"')
        running.stdout.close()
        assert running.stderr.read() == b""
        assert running.wait(60) == 1
