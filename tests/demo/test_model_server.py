"""KServe's ModelServer with the demo's classifier: both protocols, bad input as 4xx, and a port in use."""

import asyncio
import json
import socket
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from wayside.eventing.http.client import HttpClient, Unreachable
from wayside.eventing.http.message import Response
from wayside.eventing.http.url import Url
from wayside.local.demo import prepare
from wayside.local.demo.digits import Digits
from wayside.local.demo.traffic import encode
from wayside.local.demo.tumours import Tumours

pytestmark = pytest.mark.model_server
REPOSITORY = Path(__file__).parents[2]
SCRIPT = Path(prepare.__file__).with_name("model_server.py")
PYTHON = str(prepare.model_environment(REPOSITORY))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def train(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("train") / "train.npz"
    Digits.load(1).stream("train").ordinary(2_000).save(path)
    return path


@pytest.fixture
async def client() -> AsyncIterator[HttpClient]:
    client = HttpClient()
    yield client
    await client.close()


async def test_it_speaks_both_protocols_and_refuses_bad_rows(train: Path, client: HttpClient) -> None:
    port = free_port()
    process = subprocess.Popen(
        [PYTHON, str(SCRIPT), "--train", str(train), "--http_port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    async def post(path: str, body: bytes) -> Response:
        url = Url.parse(f"http://127.0.0.1:{port}{path}")
        return await client.send(b"POST", url, [(b"content-type", b"application/json")], body, timeout_s=10)

    try:
        await wait_ready(client, port)
        digits = Digits.load(1)
        sample = digits.stream("test").ordinary(100)
        v1 = json.loads((await post("/v1/models/digits:predict", encode(sample.rows, "v1", digits))).body)[
            "predictions"
        ]
        v2 = json.loads((await post("/v2/models/digits/infer", encode(sample.rows, "v2", digits))).body)["outputs"][0]
        assert v1 == v2["data"]
        assert np.mean(np.array(v1) == sample.labels) > 0.8
        for bad in (b'{"instances": [[1, 2]]}', b'{"instances": [["a"]]}', b'{"instances": []}', b"{}", b"no json"):
            assert 400 <= (await post("/v1/models/digits:predict", bad)).status < 500
    finally:
        process.terminate()
        await asyncio.to_thread(process.wait, 15)


async def wait_ready(client: HttpClient, port: int) -> None:
    async with asyncio.timeout(60):
        while True:
            try:
                url = Url.parse(f"http://127.0.0.1:{port}/v2/health/ready")
                if (await client.send(b"GET", url, [], timeout_s=2)).status == 200:
                    return
            except Unreachable:
                await asyncio.sleep(0.1)


@pytest.mark.parametrize(("file", "words"), [("missing.npz", "cannot read"), ("text.npz", "is no .npz file")])
def test_a_file_that_cannot_be_used_is_one_line(tmp_path: Path, file: str, words: str) -> None:
    (tmp_path / "text.npz").write_text("no arrays")
    command = [PYTHON, str(SCRIPT), "--train", str(tmp_path / file), "--http_port", str(free_port())]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert words in done.stderr.strip().splitlines()[-1]


def test_a_port_in_use_is_one_line(train: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        command = [PYTHON, str(SCRIPT), "--train", str(train), "--http_port", str(taken.getsockname()[1])]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "cannot listen on" in done.stderr


async def test_named_features_are_taken_by_name(tmp_path: Path, client: HttpClient) -> None:
    tumours = Tumours.load(1)
    tumours.stream("train").ordinary(2_000).save(tmp_path / "train.npz", tumours.names)
    port = free_port()
    command = [
        PYTHON,
        str(SCRIPT),
        "--train",
        str(tmp_path / "train.npz"),
        "--name",
        "tumours",
        "--http_port",
        str(port),
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    async def post(path: str, body: bytes) -> Response:
        url = Url.parse(f"http://127.0.0.1:{port}{path}")
        return await client.send(b"POST", url, [(b"content-type", b"application/json")], body, timeout_s=10)

    try:
        await wait_ready(client, port)
        sample = tumours.stream("test").ordinary(100)
        by_row = json.loads(encode(sample.rows, "v1", tumours))["instances"]
        turned = [dict(reversed(row.items())) for row in by_row]
        v1 = json.loads((await post("/v1/models/tumours:predict", json.dumps({"instances": turned}).encode())).body)
        v2 = json.loads((await post("/v2/models/tumours/infer", encode(sample.rows, "v2", tumours))).body)
        assert v1["predictions"] == v2["outputs"][0]["data"]
        assert np.mean(np.array(v1["predictions"]) == sample.labels) > 0.8
        lacking = json.dumps({"instances": [{"mean_radius": 1.0}]}).encode()
        assert (await post("/v1/models/tumours:predict", lacking)).status == 400
    finally:
        process.terminate()
        await asyncio.to_thread(process.wait, 15)
