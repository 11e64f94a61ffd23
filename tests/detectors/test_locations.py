"""Artifacts by URI: every scheme against real files and real servers on loopback, and every way in which one fails."""

import json
import re
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import obstore
import pytest
from obstore.store import S3Store

from wayside.detectors.artifacts.artifact import Artifact
from wayside.detectors.artifacts.bucket_files import BucketFiles
from wayside.detectors.artifacts.fetching import FetchSettings
from wayside.detectors.artifacts.files import FileMissing
from wayside.detectors.artifacts.folder import MANIFEST
from wayside.detectors.artifacts.locations import files_at, open_artifact, stated_digest
from wayside.eventing.errors import ConfigurationError

from .artifact_server import Site, artifact_site, dribbling, endless, redirect, silent, status, truncated

QUICK = FetchSettings(environ={}, timeout_s=0.25, tries=2, pause_s=0.001)
SECRET = "hunter2hunter2"
# each: the URI, what the server calls the folder, and the environment that leads there
REMOTE = {
    "s3": ("s3://bucket/a/b", "/bucket/a/b", {"AWS_ENDPOINT_URL": "{url}"}),
    "gs": ("gs://bucket/a/b", "/bucket/a/b", {"STORAGE_EMULATOR_HOST": "{url}"}),
    "az": ("az://bucket/a/b", "/account/bucket/a/b", {"AZURE_STORAGE_ENDPOINT": "{url}/account"}),
    "hf": ("hf://owner/repo@v1/a", "/owner/repo/resolve/v1/a", {"HF_ENDPOINT": "{url}", "HF_TOKEN": SECRET}),
    "http": ("{url}/a/b?sig=" + SECRET, "/a/b", {}),
}
Remote = tuple[str, Site, str, FetchSettings]


@pytest.fixture
def site(knn_folder: Path) -> Iterator[Site]:
    with artifact_site() as made:
        yield made


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the clouds' libraries read themselves."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "GOOGLE_APPLICATION_CREDENTIALS", "HF_TOKEN", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "account")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "aHVudGVyMmh1bnRlcjI=")


@pytest.fixture(params=REMOTE)
def remote(request: pytest.FixtureRequest, site: Site, knn_folder: Path) -> Remote:
    """A site that has the artifact under a URI of each scheme."""
    return made_remote(request.param, site, knn_folder)


def made_remote(scheme: str, site: Site, folder: Path) -> Remote:
    uri, at, environ = REMOTE[scheme]
    for path in folder.rglob("*"):
        if path.is_file():
            site.files[f"{at}/{path.relative_to(folder).as_posix()}"] = path.read_bytes()
    said = {name: value.format(url=site.url) for name, value in environ.items()}
    settings = FetchSettings(environ=said, timeout_s=0.5, tries=2, pause_s=0.001)
    return uri.format(url=site.url), site, at, settings


def refusal(uri: str, settings: FetchSettings) -> str:
    with pytest.raises(ConfigurationError) as caught:
        open_artifact(uri, settings)
    told = str(caught.value)
    assert SECRET not in told + repr(caught.value.__cause__) + repr(caught.value.__context__)
    return told


@pytest.mark.parametrize("form", ["{}", "file://{}", "file://localhost{}", "FILE://{}"])
def test_a_folder_of_this_machine(form: str, knn: Artifact, knn_folder: Path) -> None:
    uri = form.format(knn_folder)
    assert open_artifact(uri).digest == stated_digest(uri) == knn.digest


def test_a_remote_artifact(remote: Remote, knn: Artifact) -> None:
    uri, site, _, settings = remote
    assert open_artifact(uri, settings).digest == knn.digest
    assert stated_digest(uri, settings) == knn.digest
    assert len(site.requests) == 3  # detector.json and the arrays, then detector.json alone
    assert SECRET not in files_at(uri, settings).where + repr(settings)


def test_an_artifact_at_the_root(site: Site, knn: Artifact, knn_folder: Path) -> None:
    for path in knn_folder.iterdir():
        site.files[f"/{path.name}"] = path.read_bytes()
        site.files[f"/bucket/{path.name}"] = path.read_bytes()
    assert open_artifact(site.url, QUICK).digest == knn.digest
    settings = FetchSettings(environ={"AWS_ENDPOINT_URL": site.url})
    assert open_artifact("s3://bucket", settings).digest == knn.digest


@pytest.mark.parametrize(
    ("code", "told"),
    [(404, "no detector artifact|there is no"), (401, "credentials"), (403, "credentials"), (418, "418")],
)
def test_what_a_server_refuses(remote: Remote, code: int, told: str) -> None:
    uri, site, at, settings = remote
    site.faults[f"{at}/{MANIFEST}"] = status(code)
    assert re.search(told, refusal(uri, settings))
    assert len(site.requests) == 1


def test_what_may_pass_is_tried_again(remote: Remote, knn: Artifact) -> None:
    uri, site, at, settings = remote
    site.faults[f"{at}/{MANIFEST}"] = status(503)
    site.passing[f"{at}/{MANIFEST}"] = 1
    assert open_artifact(uri, settings).digest == knn.digest
    assert len(site.requests) == 3


def test_what_does_not_pass_is_told(remote: Remote) -> None:
    uri, site, at, settings = remote
    site.faults[f"{at}/{MANIFEST}"] = status(503)
    assert "503" in refusal(uri, settings)
    assert len(site.requests) == 2


@pytest.mark.parametrize("times", [1, 9], ids=["once", "always"])
def test_a_body_that_is_cut_short(remote: Remote, times: int, knn: Artifact) -> None:
    uri, site, at, settings = remote
    path = f"{at}/arrays.npz"
    site.faults[path], site.passing[path] = truncated(site.files[path]), times
    if times == 1:
        assert open_artifact(uri, settings).digest == knn.digest
    else:
        assert "arrays.npz" in refusal(uri, settings)


def test_more_bytes_than_the_manifest_says(remote: Remote) -> None:
    uri, site, at, settings = remote
    site.files[f"{at}/arrays.npz"] += b" " * 1_000_000
    assert "has more than" in refusal(uri, settings)


def test_other_bytes_than_the_manifest_says(remote: Remote) -> None:
    uri, site, at, settings = remote
    manifest = json.loads(site.files[f"{at}/{MANIFEST}"])
    site.files[f"{at}/{MANIFEST}"] = json.dumps(manifest | {"digest": "0" * 64}).encode()
    assert "the digest does not match" in refusal(uri, settings)
    assert stated_digest(uri, settings) == "0" * 64


def test_a_body_without_an_end_is_left(site: Site) -> None:
    site.faults[f"/a/{MANIFEST}"] = endless
    with pytest.raises(ConfigurationError, match="more than 1000000 bytes"):
        files_at(f"{site.url}/a", QUICK).read(MANIFEST, 1_000_000)


@pytest.mark.parametrize("fault", [silent, dribbling], ids=["silent", "dribbling"])
def test_a_slow_server_is_left(remote: Remote, fault: Callable[..., None]) -> None:
    uri, site, at, settings = remote
    site.faults[f"{at}/{MANIFEST}"] = fault
    hasty = FetchSettings(environ=settings.environ, timeout_s=0.2, slowest_bytes_per_s=1 << 40, tries=2, pause_s=0.001)
    started = time.monotonic()
    assert MANIFEST in refusal(uri, hasty)
    assert time.monotonic() - started < 5


def test_nobody_listens() -> None:
    with artifact_site() as site:
        url = site.url
    assert "refused" in refusal(f"{url}/a?sig={SECRET}", QUICK)


def test_a_redirect_is_followed_without_the_credentials(site: Site, knn: Artifact, knn_folder: Path) -> None:
    with artifact_site() as other:
        for path in knn_folder.iterdir():
            other.files[f"/cdn/{path.name}"] = path.read_bytes()
            site.faults[f"/a/{path.name}"] = redirect(f"/b/{path.name}")
            site.faults[f"/b/{path.name}"] = redirect(f"{other.url}/cdn/{path.name}")
        uri = f"http://user:{SECRET}@127.0.0.1:{site.port}/a"
        assert open_artifact(uri, QUICK).digest == knn.digest
        assert all("authorization" in headers for _, headers in site.requests)
        assert not any("authorization" in headers for _, headers in other.requests)
        assert SECRET not in files_at(uri).where


def test_the_hub_is_sent_the_token_and_its_cdn_is_not(site: Site, knn: Artifact, knn_folder: Path) -> None:
    with artifact_site() as cdn:
        uri, _, _, settings = made_remote("hf", site, knn_folder)
        cdn.files = {path: site.files[path] for path in site.files}
        site.faults = {path: redirect(f"{cdn.url}{path}") for path in site.files}
        assert open_artifact(uri, settings).digest == knn.digest
        assert {headers["authorization"] for _, headers in site.requests} == {f"Bearer {SECRET}"}
        assert not any("authorization" in headers for _, headers in cdn.requests)


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("hf://owner/repo", f"/owner/repo/resolve/main/{MANIFEST}"),
        ("hf://owner/repo:abc123", f"/owner/repo/resolve/abc123/{MANIFEST}"),
        ("hf://owner/repo@refs%2Fpr%2F1/a/b/", f"/owner/repo/resolve/refs%2Fpr%2F1/a/b/{MANIFEST}"),
    ],
)
def test_forms_of_a_hub_uri(uri: str, path: str, site: Site) -> None:
    refusal(uri, FetchSettings(environ={"HF_ENDPOINT": site.url}))
    assert site.paths == [path]


@pytest.mark.parametrize(
    ("to", "told"),
    [
        ("{url}/a/detector.json", "more than 5 times"),
        ("file:///etc/passwd", "not"),
        ("ftp://x/y", "not"),
        ("", "5 times"),
    ],
    ids=["loop", "file", "ftp", "nowhere"],
)
def test_a_redirect_that_leads_nowhere(to: str, told: str, site: Site) -> None:
    site.faults[f"/a/{MANIFEST}"] = redirect(to.format(url=site.url))
    assert told in refusal(f"{site.url}/a?sig={SECRET}", QUICK)
    assert len(site.requests) <= 6


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/../../x", "a\\b", "", "x?y", "%2e%2e/x"])
def test_names_that_lead_elsewhere(remote: Remote, name: str) -> None:
    uri, site, _, settings = remote
    with pytest.raises(ConfigurationError, match="no name of a file"):
        files_at(uri, settings).read(name, 10)
    assert not site.requests


@pytest.mark.parametrize(
    ("uri", "told"),
    [
        ("", "empty"),
        ("ftp://host/a", "file, pvc, s3, gs, az, abfs, abfss, hf, http, https"),
        ("file://host/a", "three slashes"),
        ("file://", "three slashes"),
        ("http:///a", "names no host"),
        ("http://[::1/a", "no URI"),
        ("http://host:x/a", "no URI"),
        ("s3:///a", "s3://BUCKET/FOLDER"),
        ("s3://bucket/../a", "without '..'"),
        ("s3://bucket/%2e%2e/a", "without '..'"),
        (f"s3://key:{SECRET}@bucket/a", "holds a password"),
        ("pvc:///a", "pvc://CLAIM/FOLDER"),
        ("pvc://claim/../a", "without '..'"),
        ("hf://owner", "hf://OWNER/REPO"),
        ("hf://owner/repo/../../x", "no name of a file"),
        ("hf://-owner/re po", "no repository"),
    ],
)
def test_uris_that_cannot_be(uri: str, told: str) -> None:
    assert told in refusal(uri, QUICK)


@pytest.mark.parametrize(
    ("mounted", "uri"),
    [
        ("pvc/models/outlier", "pvc://claim/models/outlier"),
        ("pvc/claim/models/outlier", "pvc://claim/models/outlier/"),
        ("models", "pvc://claim/models/outlier"),
        ("pvc", "pvc://claim"),
    ],
)
def test_a_claim(mounted: str, uri: str, tmp_path: Path, knn: Artifact, knn_folder: Path) -> None:
    place = tmp_path / mounted
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(knn_folder)
    settings = FetchSettings(claims_at=tmp_path / "pvc", models_at=tmp_path / "models")
    assert open_artifact(uri, settings).digest == knn.digest


def test_a_claim_is_looked_for_under_its_own_name_first(
    tmp_path: Path, knn: Artifact, knn_folder: Path, ks_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for place, folder in (("pvc/green/blue", knn_folder), ("pvc/blue", ks_folder), ("models", ks_folder)):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).symlink_to(folder)
    settings = FetchSettings(claims_at=tmp_path / "pvc", models_at=tmp_path / "models")
    with caplog.at_level("INFO", "wayside.detectors"):
        assert open_artifact("pvc://green/blue", settings).digest == knn.digest
    assert f"is read from {tmp_path}/pvc/green/blue" in caplog.text


def test_one_models_folder_is_not_taken_for_several_artifacts(tmp_path: Path, knn_folder: Path) -> None:
    (tmp_path / "models").symlink_to(knn_folder)
    places = FetchSettings(claims_at=tmp_path / "pvc", models_at=tmp_path / "models", is_only_artifact=False)
    assert str(tmp_path / "models") not in refusal("pvc://green/else", places)


def test_a_claim_that_is_not_mounted(tmp_path: Path) -> None:
    told = refusal("pvc://claim/a", FetchSettings(claims_at=tmp_path / "pvc", models_at=tmp_path / "models"))
    assert str(tmp_path / "pvc/a") in told
    assert str(tmp_path / "models") in told


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"digest": 7}', b'{"digest": "abc"}', b"[" * 100_000], ids=range(6)
)
def test_a_manifest_that_states_no_digest(body: bytes, tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_bytes(body)
    with pytest.raises(ConfigurationError, match="digest"):
        stated_digest(str(tmp_path))


def test_a_folder_without_a_manifest_states_no_digest(tmp_path: Path) -> None:
    with pytest.raises(FileMissing, match=MANIFEST):
        stated_digest(str(tmp_path))


@pytest.mark.parametrize(
    ("uri", "environ", "path"),
    [
        ("s3://bucket/a", {"awsAnonymousCredential": "true"}, "/bucket/a/x"),
        (
            "s3://bucket/a",
            {"AWS_ENDPOINT_URL": "http://nowhere.invalid", "AWS_ENDPOINT_URL_S3": "{url}"},
            "/bucket/a/x",
        ),
        (
            "abfss://bucket@account.dfs.core.windows.net/a",
            {"AZURE_SERVICE_URL": "{url}/account"},
            "/account/bucket/a/x",
        ),
    ],
)
def test_the_environment_of_a_bucket(uri: str, environ: dict[str, str], path: str, site: Site) -> None:
    site.files[path] = b"here"
    said = {"AWS_ENDPOINT_URL": site.url} | {name: value.format(url=site.url) for name, value in environ.items()}
    files = files_at(uri, FetchSettings(environ=said))
    assert isinstance(files, BucketFiles)
    assert files.read("x", 4) == b"here"
    signed = "authorization" in site.requests[0][1]
    assert signed is ("awsAnonymousCredential" not in environ)


def test_certificates_that_are_not_there() -> None:
    with pytest.raises(ConfigurationError, match="AWS_CA_BUNDLE"):
        files_at("s3://bucket/a", FetchSettings(environ={"AWS_CA_BUNDLE": "/there/is/none"}))


def test_a_real_s3_server(service: Callable[[str], str], knn: Artifact, knn_folder: Path) -> None:
    """One that reads requests as Amazon's does: moto's, or MinIO."""
    endpoint = service("S3")
    settings = FetchSettings(environ={"AWS_ENDPOINT_URL": endpoint})
    urllib.request.urlopen(urllib.request.Request(f"{endpoint}/artifacts", method="PUT"), timeout=10).close()
    writer = S3Store("artifacts", config={"endpoint": endpoint}, client_options={"allow_http": True})
    for path in knn_folder.iterdir():
        obstore.put(writer, f"outlier/{path.name}", path.read_bytes())
    assert open_artifact("s3://artifacts/outlier", settings).digest == knn.digest
    with pytest.raises(FileMissing, match="bucket"):
        stated_digest("s3://wayside-there-is-none/outlier", settings)
