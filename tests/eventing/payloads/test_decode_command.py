"""`wayside decode`: a line a body or event, refusals among them, and exit statuses that scripts can trust."""

import gzip
import io
import json
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from wayside.eventing.identity import record_id
from wayside.eventing.payloads import cli

V1 = b'{"instances":[[1.5,2],[3,4]]}'
EVENT = {"specversion": "1.0", "id": "e1", "source": "/s", "type": "org.kubeflow.serving.inference.request"}


def run(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, list[dict[str, Any]], str]:
    status = cli.main(argv, {})
    printed = capsys.readouterr()
    return status, [json.loads(line) for line in printed.out.splitlines()], printed.err


def write(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    return str(path)


def test_a_body_is_told_by_its_columns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = write(tmp_path / "a.json", V1)
    status, (line,), err = run(capsys, name)
    assert (status, err) == (0, "")
    assert (line["file"], line["protocol"], line["kind"], line["rows"]) == (name, "v1", "request", 2)
    assert line["columns"] == [{"name": "instances", "datatype": "FP64", "shape": [2, 2]}]
    assert len(set(line["row_ids"])) == 2


def test_logged_events_know_their_rows_by_source_and_id(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    events = [
        {**EVENT, "data": json.loads(V1)},
        {**EVENT, "id": "e2", "data": {"predictions": [1]}},
        {**EVENT, "id": "e3"},
    ]
    name = write(tmp_path / "e.jsonl", "\n".join(map(json.dumps, events)).encode())
    status, lines, _ = run(capsys, name)
    assert status == 1
    assert lines[0]["row_ids"] == [record_id("/s", "e1", 0), record_id("/s", "e1", 1)]
    assert lines[1]["refused"].startswith("a request was expected")
    assert lines[2] == {
        "file": name,
        "item": 3,
        "event": {"source": "/s", "id": "e3", "type": EVENT["type"]},
        "refused": "there is no data",
    }


@pytest.mark.parametrize(
    ("body", "flags", "protocol"),
    [
        (gzip.compress(V1, mtime=0), ["--header", "Content-Encoding: gzip"], "v1"),
        (b'[[1,2],[3,4]]', ["--protocol", "json"], "json"),
        (b'{"data":{"ndarray":[[1,2],[3,4]]}}', ["--kind", "response"], "seldon"),
        (
            b'{"inputs":[{"name":"x","shape":[2],"datatype":"FP32","parameters":{"binary_data_size":8}}]}'
            + struct.pack("<2f", 1, 2),
            ["--content-type", "application/octet-stream"],
            "v2",
        ),
        (V1, ["--header", "ce-specversion: 1.0", "--header", "ce-id: 1", "--header", "ce-source: /s",
              "--header", "ce-type: a.request"], "v1"),
    ],
)  # fmt: skip
def test_flags_say_what_came_with_a_body(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], body: bytes, flags: list[str], protocol: str
) -> None:
    status, (line,), _ = run(capsys, *flags, write(tmp_path / "body", body))
    assert (status, line["protocol"], line["rows"]) == (0, protocol, 2)


def test_lines_are_bodies_where_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = write(tmp_path / "topic.txt", b'{"a":1}\n\n{"a":\n{"a":2,"b":"x"}\n')
    status, lines, _ = run(capsys, "--protocol", "json", "--lines", name)
    assert (status, [line["item"] for line in lines]) == (1, [1, 3, 4])
    assert "not JSON" in lines[1]["refused"]


def test_a_file_that_cannot_be_read_stops_no_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, lines, err = run(capsys, str(tmp_path / "none"), write(tmp_path / "a.json", V1))
    assert (status, len(lines)) == (2, 1)
    assert err == f"wayside decode: cannot read {tmp_path / 'none'}: No such file or directory\n"


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (["--protocol", "v3"], "'v3' is none of v1, v2"),
        (["--kind", "question"], "'question' is none of request"),
        (["--header", "no colon"], "is no header"),
        (["--inflated-limit-mib", "0"], "is not a number of MiB"),
    ],
)
def test_wrong_settings_are_one_line(capsys: pytest.CaptureFixture[str], flags: list[str], reason: str) -> None:
    status, lines, err = run(capsys, *flags, "x")
    assert (status, lines, err.count("\n")) == (2, [], 1)
    assert reason in err


def test_stdin_is_read(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(V1)))
    status, (line,), _ = run(capsys, "-")
    assert (status, line["file"], line["rows"]) == (0, "-", 2)


def test_a_reader_that_leaves_is_no_error(tmp_path: Path) -> None:
    names = [write(tmp_path / f"{number}.json", V1) for number in range(200)]
    command = [sys.executable, "-m", "wayside.local", "decode", *names]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(30) in (0, 1)
