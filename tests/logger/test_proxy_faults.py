"""Model servers that lie, die or flood, clients that stall or vanish, and a process without descriptors to spare."""

import asyncio
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from logger_stage import HOST, Stage, staged_raw
from test_proxy_hostile import GOOD, START, before_model, say

POST = START + b"connection: close\r\ncontent-length: 5\r\n\r\nhello"
GET = b"GET /p HTTP/1.1\r\nhost: m\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\n"

# what the model says; the status that reaches the client, b"" where the connection just breaks; how that ends
ANSWERS = {
    "a status of 0": (b"HTTP/1.1 000 OK\r\ncontent-length: 0\r\n\r\n", b"502", b""),
    "a status of 99": (b"HTTP/1.1 099 OK\r\ncontent-length: 0\r\n\r\n", b"502", b""),
    "both lengths": (OK + b"content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", b"502", b""),
    "two lengths": (OK + b"content-length: 3\r\ncontent-length: 4\r\n\r\nabcd", b"502", b""),
    "another coding": (OK + b"transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n", b"502", b""),
    "a coding without chunks": (OK + b"transfer-encoding: gzip\r\n\r\nabc", b"502", b""),
    "obs-fold": (OK + b"x: a\r\n b\r\ncontent-length: 0\r\n\r\n", b"502", b""),
    "NUL in a value": (OK + b"x: a\0b\r\ncontent-length: 0\r\n\r\n", b"502", b""),
    "lines that end in LF": (b"HTTP/1.1 200 OK\ncontent-length: 0\n\n", b"502", b""),
    "more than its length": (OK + b"content-length: 3\r\n\r\nabcSECRET", b"200", b"\r\n\r\nabc"),
    "less than its length": (OK + b"content-length: 30\r\n\r\nabc", b"200", b"\r\n\r\nabc"),
    "a broken chunk": (OK + b"transfer-encoding: chunked\r\n\r\n3\r\nabc\r\nZZ", b"", b"\r\n3\r\nabc\r\n"),
    "a chunked body cut": (OK + b"transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n", b"200", b"\r\n3\r\nabc\r\n"),
    "a body for 204": (b"HTTP/1.1 204 No\r\ncontent-length: 6\r\n\r\nSECRET", b"204", b"\r\n\r\n"),
    "interim answers": (b"HTTP/1.1 103 Hints\r\n\r\n" * 9 + OK + b"content-length: 1\r\n\r\na", b"103", b"\r\n\r\na"),
    "interim answers without end": (b"HTTP/1.1 103 Hints\r\n\r\n" * 20_000, b"103", b"have no end\n"),
    "trailers without end": (
        OK + b"transfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n" + b"x: yyyyyyyyyyyyyyy\r\n" * 30_000,
        b"",
        b"\r\n1\r\na\r\n",
    ),
}


@pytest.mark.parametrize("name", ANSWERS)
async def test_a_model_that_answers_wrong_harms_its_own_client_alone(name: str) -> None:
    answer, status, end = ANSWERS[name]
    served = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal served
        served += 1
        data = await reader.readuntil(b"\r\n\r\n")
        if b"/good" in data:
            writer.write(OK + b"content-length: 4\r\n\r\ngood")
            return
        pieces = [answer] if served == 1 else [answer[at : at + 1] for at in range(min(len(answer), 2000))]
        for piece in pieces:
            writer.write(piece)
            await writer.drain()

    async with staged_raw(serve) as stage:
        said = await say(stage, POST)
        assert said.startswith(b"HTTP/1.1 " + status) or not (said or status), said[:200]
        assert said.endswith(end) or not said or status == b"502", said[-200:]
        assert b"SECRET" not in said
        if len(answer) < 2000:
            said = await say(stage, POST)
            assert said.startswith(b"HTTP/1.1 " + status) or not (said or status), said[:200]
        assert (await say(stage, GOOD)).endswith(b"\r\n\r\ngood")


@pytest.mark.parametrize(("message", "status"), [(GET, b"200"), (POST, b"502")])
async def test_a_kept_connection_that_dies_unanswered_is_asked_again_only_where_that_is_safe(
    message: bytes, status: bytes
) -> None:
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK + b"content-length: 2\r\n\r\nok")
        if connections == 1:
            await reader.readuntil(b"\r\n\r\n")  # and closes, without a word

    async with staged_raw(serve) as stage:
        await stage.talk(GET, until=b"ok")
        said = await stage.talk(message, until=b"ok" if status == b"200" else b"\n")
        assert said.startswith(b"HTTP/1.1 " + status)
        assert connections == (2 if status == b"200" else 1)


async def test_a_client_that_waits_in_vain_for_100_sends_its_body_all_the_same() -> None:
    async with before_model() as (stage, model):
        reader, writer = await asyncio.open_connection(HOST, stage.logger.port)
        writer.write(START + b"expect: 100-continue\r\ncontent-length: 5\r\n\r\n")
        while not model.heads:
            await asyncio.sleep(0)
        writer.write(b"hello")
        assert (await asyncio.wait_for(reader.readuntil(b"hello"), 5)).startswith(b"HTTP/1.1 200")
        assert model.heads[0][b"expect"] == b"100-continue"
        writer.close()


@pytest.mark.parametrize(
    ("sent", "later_s", "said"),
    [
        (b"", 61, b""),
        (b"\r\n\r\n", 61, b""),
        (b"P", 61, b"HTTP/1.1 408 "),
        (b"POST / HTTP/1.1\r\nho", 61, b"HTTP/1.1 408 "),
        (GET + b"POST", 61, b"HTTP/1.1 200 "),
        (START + b"content-length: 9\r\n\r\nhel", 121, b""),
    ],
)
async def test_a_client_that_stalls_is_given_up(sent: bytes, later_s: float, said: bytes) -> None:
    async with before_model() as (stage, model):
        reader, writer = await asyncio.open_connection(HOST, stage.logger.port)
        writer.write(sent)
        await _settled(stage)
        sweep(stage, later_s - 2)
        assert not reader.at_eof()
        sweep(stage, later_s)
        assert (await asyncio.wait_for(reader.read(), 5)).startswith(said)
        assert (await say(stage, GOOD)).endswith(b"good")
        assert (b"/good", b"good") in model.seen
        writer.close()


async def test_an_idle_connection_is_kept() -> None:
    async with before_model() as (stage, _):
        reader, writer = await asyncio.open_connection(HOST, stage.logger.port)
        writer.write(START + b"content-length: 2\r\n\r\nab")
        await reader.readuntil(b"\r\n\r\nab")
        sweep(stage, 86_400)
        writer.write(START + b"content-length: 2\r\n\r\ncd")
        await asyncio.wait_for(reader.readuntil(b"\r\n\r\ncd"), 5)
        writer.close()


def sweep(stage: Stage, later_s: float) -> None:
    """What the port does every few seconds, as if it were so much later."""
    for peer in list(stage.logger._server._proxy.peers):
        peer.sweep(asyncio.get_running_loop().time() + later_s)


async def _settled(stage: Stage) -> None:
    """Until what was sent before has been read."""
    for _ in range(3):
        await say(stage, GOOD)


STARVED = """
import asyncio, resource, sys
import uvloop
sys.path.insert(0, sys.argv[1])
from test_proxy_hostile import GOOD, before_model, say
from logger_stage import HOST

async def main():
    async with before_model() as (stage, model):
        await say(stage, GOOD)
        resource.setrlimit(resource.RLIMIT_NOFILE, (len(__import__("os").listdir("/proc/self/fd")) + 9, 4096))
        held = []
        for _ in range(30):
            try:
                held.append(await asyncio.open_connection(HOST, stage.logger.port))
            except OSError:
                break
        for _, writer in held:
            writer.write(GOOD)
        await asyncio.sleep(0.05)
        used_s = resource.getrusage(resource.RUSAGE_SELF).ru_utime
        await asyncio.sleep(0.2)
        assert resource.getrusage(resource.RUSAGE_SELF).ru_utime - used_s < 0.15, "it spins"
        for _, writer in held:
            writer.transport.abort()
        for _ in range(300):
            await asyncio.sleep(0.02)
            try:
                if (await say(stage, GOOD)).endswith(b"good"):
                    print("recovered")
                    return
            except OSError:
                pass

with asyncio.Runner(loop_factory=uvloop.new_event_loop if sys.argv[2] == "uvloop" else None) as runner:
    runner.run(main())
"""


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_process_without_descriptors_neither_crashes_nor_spins_and_recovers(loop: str) -> None:
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[1] > 64
    here = str(Path(__file__).parent)
    ran = subprocess.run([sys.executable, "-c", STARVED, here, loop], capture_output=True, timeout=30, check=False)
    assert b"recovered" in ran.stdout, ran.stderr[-2000:]
