"""Batches in buckets: the settings of each cloud's client, its requests as a server sees them, and a real S3 server.

Invariant: the server of these tests speaks real HTTP and keeps what it is sent; it checks no signatures.
"""

import asyncio
import json
import logging
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

import obstore
import pytest
from obstore.store import S3Store

from wayside.eventing.errors import ConfigurationError
from wayside.eventing.event import CloudEvent
from wayside.eventing.http.message import Request, Response
from wayside.eventing.http.server import HttpServer, ServerLimits
from wayside.eventing.sink import EventRefused, SinkUnavailable
from wayside.eventing.vocabulary import REQUEST, ServiceKey
from wayside.logger.emit.batch_sink import BatchSink
from wayside.logger.emit.store import store_sink
from wayside.logger.emit.store.address import StoreAddress
from wayside.logger.emit.store.clouds import bucket_settings
from wayside.logger.settings import Delivery, Store, StoreFormat

HOST = "127.0.0.1"
FOLDER = "pre/ns/sk/predictor/logs"
SECRET = "hunter2hunter2"
NOT_THERE = b"<?xml version='1.0'?><Error><Code>NoSuchBucket</Code><Message>no such bucket</Message></Error>"


@dataclass
class Bucket:
    """A server that takes objects; answers `statuses` first, then 200; `hold` keeps every answer back."""

    objects: dict[str, bytes] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    answers: list[Response] = field(default_factory=list)
    hold: bool = False
    port: int = 0

    async def answer(self, request: Request) -> Response:
        self.requests.append(request)
        if self.hold:
            await asyncio.Event().wait()
        if self.answers:
            return self.answers.pop(0)
        self.objects[request.path] = request.body
        return Response(201 if b"windows" in (request.header(b"host") or b"") else 200, [(b"etag", b'"1"')])

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"


@asynccontextmanager
async def bucket() -> AsyncIterator[Bucket]:
    kept = Bucket()
    server = HttpServer(kept.answer, HOST, 0, ServerLimits(body_bytes=64 << 20))
    await server.start()
    kept.port = server.port
    try:
        yield kept
    finally:
        await server.stop(0.0)


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """No cloud's own variables but these."""
    for name in (
        "AWS_CA_BUNDLE",
        "S3_USER_VIRTUAL_BUCKET",
        "AZURE_STORAGE_ACCESS_KEY",
        "GOOGLE_APPLICATION_CREDENTIALS",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")


def event(event_id: str = "a", data: bytes = b"{}") -> CloudEvent:
    extensions = ServiceKey("ns", "sk", "predictor", "").extensions()
    return CloudEvent(event_id, "s", REQUEST, data, "2026-08-01T01:02:03.000000000Z", extensions=extensions)


def sink_of(url: str = "s3://buck/pre", timeout_s: float = 10.0, **store: object) -> BatchSink:
    settings = Store("/logs", **store)  # type: ignore[arg-type]  # the test's own names
    return store_sink(Delivery(url, timeout_s=timeout_s, store=settings))


async def test_an_object_goes_to_s3_in_one_signed_request(monkeypatch: pytest.MonkeyPatch) -> None:
    async with bucket() as kept:
        monkeypatch.setenv("AWS_ENDPOINT_URL", kept.url)
        sink = sink_of()
        batch = [event("../a b", bytes(9 << 20)), event("b")]
        await sink.send_batch(batch[:1])
        await sink.send_batch(batch)
        await sink.send_batch(batch)
        await sink.stop()

    one, two, again = kept.requests
    assert one.target == f"/buck/{FOLDER}/..%252Fa%2520b-request.json".encode()
    assert (one.method, one.header(b"content-type")) == (b"PUT", b"application/json")
    signature = one.header(b"authorization") or b""
    assert signature.startswith(b"AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/")
    assert b"/eu-west-1/s3/" in signature
    assert (two.target, two.body) == (again.target, again.body)
    assert len(json.loads(two.body)) == 2
    assert len(kept.objects) == 2


async def test_with_compatibility_the_object_is_the_agents(monkeypatch: pytest.MonkeyPatch) -> None:
    async with bucket() as kept:
        monkeypatch.setenv("AWS_ENDPOINT_URL", kept.url)
        sink = sink_of(kserve_compatible=True, format=StoreFormat.CSV)
        await sink.send_batch([event("a"), event("b")])
        await sink.stop()

    assert list(kept.objects) == [f"/buck/{FOLDER}/a-request.csv"]
    assert kept.requests[0].header(b"content-type") == b"application/octet-stream"


async def test_an_object_goes_to_google(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async with bucket() as kept:
        account = {"gcs_base_url": kept.url, "disable_oauth": True, "client_email": "", "private_key": ""}
        key_file = tmp_path / "key.json"
        key_file.write_text(json.dumps({**account, "private_key_id": ""}))
        monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT", str(key_file))
        monkeypatch.setenv("GOOGLE_BASE_URL", kept.url)
        sink = sink_of("gs://buck/pre")
        await sink.send_batch([event()])
        await sink.stop()

    assert [unquote(path) for path in kept.objects] == [f"/buck/{FOLDER}/a-request.json"]


async def test_an_object_goes_to_azure(monkeypatch: pytest.MonkeyPatch) -> None:
    async with bucket() as kept:
        monkeypatch.setenv("AZURE_SERVICE_URL", f"{kept.url}/")
        monkeypatch.setenv("AZURE_ACCOUNT_NAME", "acct")
        monkeypatch.setenv("AZURE_ACCESS_TOKEN", SECRET)
        kept.answers = [Response(201, [(b"etag", b'"1"')])]
        sink = sink_of("abfs://cont@acct.dfs.core.windows.net/pre")
        await sink.send_batch([event()])
        await sink.stop()

    [request] = kept.requests
    assert request.target == f"/cont/{FOLDER}/a-request.json".encode()
    assert request.header(b"x-ms-blob-type") == b"BlockBlob"
    assert request.header(b"authorization") == f"Bearer {SECRET}".encode()


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (404, NOT_THERE, r"NoSuchBucket: no such bucket \(make the bucket"),
        (403, b"<Error><Code>AccessDenied</Code></Error>", r"AccessDenied \(let the logger's account write"),
        (401, b"", r"\(check the credentials"),
        (503, b"<Error><Code>SlowDown</Code></Error>", "SlowDown"),
        (500, b"x" * 100_000, "500"),
        (301, b"", "301|region|redirect"),
        (400, b"<Error><Code>ExpiredToken</Code><Message>token expired</Message></Error>", "token expired"),
    ],
)
async def test_what_a_store_refuses_now_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, status: int, body: bytes, reason: str
) -> None:
    async with bucket() as kept:
        monkeypatch.setenv("AWS_ENDPOINT_URL", kept.url)
        kept.answers = [Response(status, [], body)]
        sink = sink_of()
        with caplog.at_level(logging.DEBUG), pytest.raises(SinkUnavailable, match=reason) as raised:
            await sink.send_batch([event()])
        await sink.send_batch([event()])
        await sink.stop()

    assert len(kept.requests) == 2  # the emitter tries again, and nobody else
    assert len(str(raised.value)) < 500
    assert SECRET not in f"{raised.value}{raised.value.__cause__}{caplog.text}"


async def test_a_store_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async with bucket() as kept:
        monkeypatch.setenv("AWS_ENDPOINT_URL", kept.url)
        kept.hold = True
        sink = sink_of(timeout_s=0.2)
        with pytest.raises(SinkUnavailable, match=r"no answer within 0\.2"):
            await sink.send_batch([event()])
        await sink.stop()


async def test_a_store_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{HOST}:1")
    sink = sink_of()
    with pytest.raises(SinkUnavailable, match="error sending request"):
        await sink.send_batch([event()])
    await sink.stop()


async def test_a_part_of_a_path_that_no_store_can_have_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{HOST}:1")
    sink = store_sink(Delivery("s3://buck", store=Store("a\x01b")))
    with pytest.raises(EventRefused, match="path"):
        await sink.send_batch([event()])
    await sink.stop()


def test_files_of_credentials_that_are_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    with pytest.raises(ConfigurationError, match=r"gs://b cannot be used: .*none\.json"):
        sink_of("gs://b")
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "none.pem"))
    with pytest.raises(ConfigurationError, match=r"s3://b cannot be used: .*none\.pem"):
        sink_of("s3://b")


VIRTUAL = {"virtual_hosted_style_request": "true"}


@pytest.mark.parametrize(
    ("url", "environ", "config"),
    [
        ("s3://b", {}, VIRTUAL),
        ("s3://b.c", {}, {}),
        ("s3://b", {"S3_USER_VIRTUAL_BUCKET": "False"}, {}),
        ("s3://b", {"AWS_ENDPOINT_URL": "http://minio:9000"}, {}),
        (
            "s3://b",
            {"AWS_ENDPOINT_URL": "https://oss", "S3_USER_VIRTUAL_BUCKET": "true"},
            {**VIRTUAL, "endpoint": "https://b.oss"},
        ),
        ("s3://b", {"AWS_ENDPOINT_URL": "http://10.0.0.1:9000", "S3_USER_VIRTUAL_BUCKET": "true"}, {}),
        ("s3://b", {"S3_USE_ACCELERATE": "true"}, {**VIRTUAL, "endpoint": "https://b.s3-accelerate.amazonaws.com"}),
        ("s3://b", {"awsAnonymousCredential": "true"}, {**VIRTUAL, "skip_signature": "true"}),
        ("gs://b", {}, {}),
        ("abfs://c@acct.dfs.core.windows.net", {}, {"account_name": "acct"}),
        ("abfs://c@acct.dfs.core.windows.net", {"AZURE_ACCOUNT_NAME": "other"}, {"account_name": "other"}),
        (
            "abfs://c",
            {"AZURE_SERVICE_URL": "https://acct.blob.core.usgovcloudapi.net/"},
            {"account_name": "acct", "endpoint": "https://acct.blob.core.usgovcloudapi.net"},
        ),
        ("abfs://c", {"AZURE_ACCOUNT_NAME": "a", "AZURE_ACCESS_TOKEN": "t"}, {"account_name": "a", "token": "t"}),
        (
            "abfs://c@a",
            {"AZURE_CLIENT_ID": "i", "AZURE_TENANT_ID": "t", "AZURE_FEDERATED_TOKEN_FILE": "/f"},
            {"account_name": "a", "credential_type": "workload_identity"},
        ),
        (
            "abfs://c@a",
            {"AZURE_CLIENT_ID": "i", "AZURE_TENANT_ID": "t", "AZURE_CLIENT_SECRET": "s"},
            {"account_name": "a", "credential_type": "client_secret"},
        ),
    ],
)
def test_settings_of_a_client(url: str, environ: dict[str, str], config: dict[str, str]) -> None:
    settings = bucket_settings(StoreAddress.parse(url), environ)

    assert settings.config == config
    assert settings.plain_http is environ.get("AWS_ENDPOINT_URL", "").startswith("http:")
    assert "token" not in repr(settings)


async def test_a_real_s3_server(service: Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> None:
    """One that reads requests as Amazon's does: moto's, or MinIO."""
    endpoint = service("S3")
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    missing = sink_of("s3://wayside-missing/pre")
    with pytest.raises(SinkUnavailable, match="NoSuchBucket"):
        await missing.send_batch([event()])
    await missing.stop()
    await asyncio.to_thread(urllib.request.urlopen, urllib.request.Request(f"{endpoint}/wayside", method="PUT"))
    sink = sink_of("s3://wayside/pre")
    for _ in range(2):
        await asyncio.gather(*(sink.send_batch([event(f"é/{number}", bytes(6 << 20))]) for number in range(3)))
    await sink.stop()

    reader = S3Store("wayside", client_options={"allow_http": True})
    found = [entry["path"] for entry in await obstore.list(reader).collect_async()]
    assert sorted(found) == [f"{FOLDER}/%C3%A9%2F{number}-request.json" for number in range(3)]
    stored = bytes(await (await obstore.get_async(reader, found[0])).bytes_async())
    assert json.loads(stored)["id"].startswith("é/")
