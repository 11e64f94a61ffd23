"""Names of objects, log urls, and batches in a folder from end to end."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wayside.eventing.errors import ConfigurationError
from wayside.eventing.event import CloudEvent
from wayside.eventing.kafka.thread import WorkThread
from wayside.eventing.sink import EventRefused, SinkUnavailable
from wayside.eventing.vocabulary import REQUEST, RESPONSE, ServiceKey
from wayside.logger.emit.batch_sink import BatchSink
from wayside.logger.emit.store import is_store_url, store_sink
from wayside.logger.emit.store.address import Cloud, StoreAddress
from wayside.logger.emit.store.files import FolderWriter
from wayside.logger.emit.store.formats import File
from wayside.logger.emit.store.names import ObjectNames
from wayside.logger.settings import Delivery, Store, StoreFormat

ID = "0a20621a-a1c4-414c-9f6e-5e1636e1c0fe"
SERVICE = ServiceKey("ns", "sk", "predictor", "")


def event(event_id: str = ID, kind: str = REQUEST, data: bytes = b"{}", key: ServiceKey = SERVICE) -> CloudEvent:
    extensions = key.extensions()
    return CloudEvent(event_id, "s", kind, data, "2026-08-01T01:02:03.000000000Z", extensions=extensions)


def name(batch: Sequence[CloudEvent], prefix: str = "", path: str = "/logs", *, compatible: bool = False) -> str:
    return ObjectNames(prefix, path, kserve_compatible=compatible).name(batch, "json")


@pytest.mark.parametrize(
    ("prefix", "key", "path", "folder"),
    [
        ("pre/fix", SERVICE, "/logs", "pre/fix/ns/sk/predictor/logs/"),
        ("", SERVICE, "logs", "ns/sk/predictor/logs/"),
        ("", SERVICE, "", "ns/sk/predictor/"),
        ("p", ServiceKey("", "sk", "", "e"), "/a//b/./c/", "p/sk/a/b/c/"),
        ("p", SERVICE, "../x", "p/ns/sk/x/"),
        ("p", SERVICE, "../../../../../x", "p/x/"),
        ("", ServiceKey("..", "sk", "..", ""), "../..", ""),
        ("", ServiceKey("", "", "", ""), "/logs", "logs/"),
    ],
)
def test_the_folder_is_the_agents(prefix: str, key: ServiceKey, path: str, folder: str) -> None:
    assert name([event(key=key)], prefix, path) == f"{folder}{ID}-request.json"


@pytest.mark.parametrize(
    ("event_id", "escaped"),
    [
        (ID, ID),
        ("../e v", "..%2Fe%20v"),
        ("a\\b", "a%5Cb"),
        ("%2F", "%252F"),
        ("x\n\x00y", "x%0A%00y"),
        ("é", "%C3%A9"),
        ("..", ".."),
    ],
)
@pytest.mark.parametrize("compatible", [False, True])
def test_an_id_cannot_lead_elsewhere(event_id: str, escaped: str, compatible: bool) -> None:
    assert name([event(event_id)], compatible=compatible) == f"ns/sk/predictor/logs/{escaped}-request.json"


@given(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1), st.sampled_from([REQUEST, RESPONSE, "x/..", "a."])
)
def test_every_name_lies_in_its_folder(event_id: str, kind: str) -> None:
    path = PurePosixPath(name([event(event_id, kind)]))

    assert path.parent == PurePosixPath("ns/sk/predictor/logs")
    assert ".." not in path.parts
    assert len(path.name.encode()) <= 255


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), min_size=2, max_size=2, unique=True))
def test_two_ids_never_share_a_name(ids: list[str]) -> None:
    assert name([event(ids[0])]) != name([event(ids[1])])
    assert name([event("x" * 200 + ids[0])]) != name([event("x" * 200 + ids[1])])


def test_a_batch_is_named_by_all_that_it_holds() -> None:
    a, b, c = event("a"), event("b"), event("a", RESPONSE)

    assert name([a, b]) == name([a, b])
    assert len({name(batch) for batch in ([a], [a, b], [a, c], [a, b, c], [a, c, b])}) == 5
    assert name([a, b]).startswith("ns/sk/predictor/logs/a-")
    assert name([a, b]).endswith("-request.json")
    assert name([a, b], compatible=True) == name([a, c], compatible=True) == "ns/sk/predictor/logs/a-request.json"


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("s3://buck/pre/fix", StoreAddress(Cloud.S3, "buck", "", "pre/fix")),
        ("s3a://buck/", StoreAddress(Cloud.S3, "buck", "", "")),
        ("s3://buck@host/p", StoreAddress(Cloud.S3, "buck", "", "p")),
        ("gs://b/a%20b", StoreAddress(Cloud.GCS, "b", "", "a b")),
        ("abfs://c@acct.dfs.core.windows.net/p", StoreAddress(Cloud.AZURE, "c", "acct", "p")),
        ("abfss://c@acct.dfs.core.windows.net", StoreAddress(Cloud.AZURE, "c", "acct", "")),
        ("abfs://c/p", StoreAddress(Cloud.AZURE, "c", "", "p")),
        ("file:///data/x", StoreAddress(Cloud.FOLDER, "", "", "/data/x")),
    ],
)
def test_log_urls(url: str, address: StoreAddress) -> None:
    assert StoreAddress.parse(url) == address
    assert is_store_url(url) is not url.startswith("file:")


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("s3://", "no name of a bucket"),
        ("s3://a b/", "no name of a bucket"),
        ("s3://k:hunter2@b/p", "holds a password"),
        ("s3://b/../c", "holds '..'"),
        ("gs://b/%2e%2e/c", "holds '..'"),
        ("gs://b/%00", "control character"),
        ("file://host/x", "three slashes"),
        ("file:x", "three slashes"),
        ("http://h/", "begins with s3"),
        ("ftp://h/", "begins with s3"),
        ("", "begins with s3"),
        ("s3://[", "begins with s3"),
    ],
)
def test_log_urls_that_are_none(url: str, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason) as raised:
        StoreAddress.parse(url)
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize(
    "url", ["http://s3/x", "https://acct.blob.core.windows.net/c", "kafka://h/t", "gsomething", "s3"]
)
def test_other_log_urls_ask_for_no_store(url: str) -> None:
    assert not is_store_url(url)


def test_a_store_needs_its_path() -> None:
    with pytest.raises(ConfigurationError, match="--log-store-path"):
        store_sink(Delivery("s3://b"))


# in a folder


def folder_sink(folder: Path, form: StoreFormat = StoreFormat.JSON) -> BatchSink:
    return store_sink(Delivery(folder.as_uri(), store=Store("/logs", form)))


@pytest.mark.parametrize("form", list(StoreFormat))
async def test_a_batch_becomes_one_file(tmp_path: Path, form: StoreFormat) -> None:
    sink = folder_sink(tmp_path, form)
    batch = [event(), event(kind=RESPONSE, data=b"\xff" * 1_000_000)]
    await sink.start()
    await sink.send_batch(batch)
    [path] = [path for path in tmp_path.rglob("*") if path.is_file()]
    first = path.read_bytes()
    await sink.send_batch(batch)
    await sink.stop()
    await sink.stop()

    assert path.relative_to(tmp_path).parent == Path("ns/sk/predictor/logs")
    assert path.suffix == f".{form.value}"
    assert [found for found in tmp_path.rglob("*") if found.is_file()] == [path]
    assert path.read_bytes() == first


async def test_ids_of_a_client_stay_below_the_folder(tmp_path: Path) -> None:
    sink = folder_sink(tmp_path / "root")
    for event_id in ("../../../../../up", "/etc/x", "a/b", "x" * 5000):
        await sink.send_batch([event(event_id)])
    await sink.stop()

    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.parent for path in files} == {tmp_path / "root/ns/sk/predictor/logs"}
    assert len(files) == 4


async def test_the_loop_runs_while_a_large_batch_is_made(tmp_path: Path) -> None:
    sink = folder_sink(tmp_path)
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    counting = asyncio.create_task(count())
    await sink.send_batch([event(str(number), data=bytes(4 << 20)) for number in range(4)])
    counting.cancel()
    await sink.stop()

    assert turns > 20


async def test_a_folder_that_cannot_be_written_is_tried_again(tmp_path: Path) -> None:
    blocked = tmp_path / "ns"
    blocked.write_text("a file where a folder should be")
    sink = folder_sink(tmp_path)
    with pytest.raises(SinkUnavailable, match="cannot write below"):
        await sink.send_batch([event()])
    blocked.unlink()
    await sink.send_batch([event()])
    await sink.stop()

    assert json.loads((tmp_path / f"ns/sk/predictor/logs/{ID}-request.json").read_bytes())["id"] == ID


async def test_a_name_that_no_folder_can_have_is_refused(tmp_path: Path) -> None:
    sink = store_sink(Delivery(tmp_path.as_uri(), store=Store("x" * 300)))
    with pytest.raises(EventRefused, match="name too long"):
        await sink.send_batch([event()])
    await sink.stop()


async def test_a_full_disk_leaves_what_was_there_and_no_part(tmp_path: Path) -> None:
    """A limit on the size of files, in a process of its own, stands for the disk's end."""
    program = f"""
import asyncio, resource, signal, sys
from pathlib import Path
from wayside.eventing.kafka.thread import WorkThread
from wayside.logger.emit.store.files import FolderWriter
from wayside.logger.emit.store.formats import File
from wayside.eventing.sink import SinkUnavailable
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
async def main():
    writer = FolderWriter(Path({str(tmp_path)!r}), WorkThread("t"))
    await writer.write("a/b.json", File(b"old", "json", ""))
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
    try:
        await writer.write("a/b.json", File(bytes(5000), "json", ""))
    except SinkUnavailable as exc:
        print(exc)
asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert "cannot write below" in done.stdout
    assert {path.name: path.read_bytes() for path in (tmp_path / "a").iterdir()} == {"b.json": b"old"}


async def test_readers_see_whole_files_only(tmp_path: Path) -> None:
    thread = WorkThread("files")
    writer = FolderWriter(tmp_path, thread)
    bodies = [bytes([number]) * 100_000 for number in range(20)]
    await writer.write("f", File(bodies[0], "json", ""))
    writing = asyncio.gather(*(writer.write("f", File(body, "json", "")) for body in bodies))
    while not writing.done():
        assert (tmp_path / "f").read_bytes() in bodies
        await asyncio.sleep(0)
    await writing
    thread.end()
    assert os.listdir(tmp_path) == ["f"]


@pytest.mark.parametrize(
    ("url", "form", "extra"), [("s3://b/p", "JSON", "store"), ("file:///tmp/none", "PARQUET", "parquet")]
)
def test_a_missing_library_names_its_extra(url: str, form: str, extra: str) -> None:
    program = f"""
import sys
sys.modules.update(dict.fromkeys(["obstore", "pyarrow"]))
from wayside.logger.emit.store import store_sink
from wayside.logger.settings import *
store_sink(Delivery({url!r}, store=Store("x", StoreFormat.{form})))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert f"needs the extra '{extra}': pip install 'wayside[{extra}]'" in done.stderr


def test_a_folder_needs_the_standard_library_alone() -> None:
    program = """
import sys
from wayside.logger.emit.store import store_sink
from wayside.logger.settings import Delivery, Store
store_sink(Delivery("file:///tmp/none", store=Store("x")))
print(sorted(name for name in ("obstore", "pyarrow", "httptools", "numpy") if name in sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
