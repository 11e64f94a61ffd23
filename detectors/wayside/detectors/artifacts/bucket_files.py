"""Files of an artifact in a bucket of S3, Google Cloud Storage or Azure. Needs the extra `remote`.

Source: obstore, Python's binding of Rust's object_store, which reads the clouds' own variables (AWS_*, GOOGLE_*,
AZURE_*) itself; kserve/kserve python/storage for KServe's (awsAnonymousCredential, S3_USER_VIRTUAL_BUCKET).
Invariant: an object larger than the limit is refused by its announced size, before any of it is read; what an error
says holds no secret and no query of a signed URL.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import SplitResult, unquote

from wayside.detectors.artifacts.fetching import FetchSettings
from wayside.detectors.artifacts.files import FileMissing, Files, check_file_name
from wayside.eventing.errors import ConfigurationError, MissingExtra

try:
    import obstore
    from obstore.exceptions import PermissionDeniedError, UnauthenticatedError
    from obstore.store import AzureStore, GCSStore, ObjectStore, S3Store
except ImportError as exc:
    raise MissingExtra("An artifact in a bucket", "remote") from exc

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,221}")
_REASON_LIMIT = 300
_QUERY = re.compile(r"\?[^\s\"'<>)]*")  # of a signed URL
_SAID = re.compile(r"<(?:Code|Message)>([^<]{1,200})<")


@dataclass(frozen=True, slots=True)
class _Client:
    """What a store is made with, besides what its library reads from the environment itself. Never to be logged."""

    store: Callable[..., ObjectStore]
    config: Mapping[str, str] = field(default_factory=dict, repr=False)
    endpoint: str = ""
    certificates: bytes = b""


class BucketFiles(Files):
    """The objects under a prefix of a bucket."""

    def __init__(self, parts: SplitResult, settings: FetchSettings) -> None:
        """Raises `ConfigurationError` for what names no bucket, or holds a password."""
        if parts.password is not None:
            raise ConfigurationError(
                f"the {parts.scheme}:// URI holds a password: credentials come from the environment"
            )
        account_last = parts.scheme.startswith("abfs") and parts.username is not None
        self._bucket = unquote(parts.username or "") if account_last else parts.netloc.rpartition("@")[2]
        self._prefix = unquote(parts.path).strip("/")
        if _BUCKET.fullmatch(self._bucket) is None or ".." in self._prefix.split("/"):
            raise ConfigurationError(f"an artifact in a bucket is {parts.scheme}://BUCKET/FOLDER, without '..'")
        self.where = f"{parts.scheme}://{self._bucket}/{self._prefix}".rstrip("/")
        self._client = _CLIENTS[parts.scheme](parts, settings.environ)
        self._settings = settings

    def read(self, name: str, limit_bytes: int) -> bytes:
        path = f"{self._prefix}/{check_file_name(name)}".lstrip("/")
        try:
            found = obstore.get(self._store(limit_bytes), path)
            content = None if found.meta["size"] > limit_bytes else bytes(found.bytes())
        except Exception as exc:  # obstore's errors have no class in common, and their texts may hold what is signed
            raise self._error(name, exc) from None
        if content is None:
            raise ConfigurationError(f"{self.where}/{name} has more than {limit_bytes} bytes")
        return content

    def names(self) -> list[str]:
        return []

    def _store(self, limit_bytes: int) -> ObjectStore:
        """A client with the time that a file of this size is given."""
        settings, client = self._settings, self._client
        limit = timedelta(seconds=settings.limit_s(limit_bytes))
        answer = timedelta(seconds=settings.timeout_s)
        options: dict[str, Any] = {"connect_timeout": answer, "read_timeout": answer, "timeout": limit}
        if client.endpoint.startswith("http://"):
            options["allow_http"] = True
        if client.certificates:
            options["root_certificate"] = client.certificates
        pause = {"init_backoff": timedelta(seconds=settings.pause_s), "max_backoff": answer}
        retry: Any = {"max_retries": settings.tries - 1, "retry_timeout": limit, "backoff": pause}
        return client.store(self._bucket, config=client.config, client_options=options, retry_config=retry)

    def _error(self, name: str, exc: Exception) -> ConfigurationError:
        reason = _reason(exc)
        if isinstance(exc, FileNotFoundError):
            return FileMissing(f"there is no {self.where}/{name} ({reason})")
        hint = ""
        if isinstance(exc, UnauthenticatedError | PermissionDeniedError):
            hint = ": check the credentials in the environment, and that they may read there"
        return ConfigurationError(f"cannot read {self.where}/{name}: {reason}{hint}")


def _reason(exc: Exception) -> str:
    """What the store itself said, in its XML, or else the first line of what the client says."""
    text = str(exc).partition("\n\nDebug source:")[0]
    said = ": ".join(_SAID.findall(text)) or text.partition("\n")[0]
    return _QUERY.sub("?…", said)[:_REASON_LIMIT]


def _s3(parts: SplitResult, environ: Mapping[str, str]) -> _Client:
    endpoint = environ.get("AWS_ENDPOINT_URL_S3") or environ.get("AWS_ENDPOINT_URL") or environ.get("AWS_ENDPOINT", "")
    config = {}
    if endpoint:
        config["endpoint"] = endpoint
    if environ.get("awsAnonymousCredential", "").lower() == "true":
        config["skip_signature"] = "true"
    in_host = environ.get("S3_USER_VIRTUAL_BUCKET", "").lower()
    if "." not in parts.netloc and (in_host == "true" or not (endpoint or in_host)):
        config["virtual_hosted_style_request"] = "true"
        if endpoint:
            scheme, _, rest = endpoint.partition("://")
            config["endpoint"] = f"{scheme}://{parts.netloc}.{rest}"
    return _Client(S3Store, config, endpoint, _certificates(environ.get("AWS_CA_BUNDLE", "")))


def _certificates(ca_file: str) -> bytes:
    try:
        return Path(ca_file).read_bytes() if ca_file else b""
    except OSError as exc:
        raise ConfigurationError(f"cannot read AWS_CA_BUNDLE {ca_file}: {exc.strerror or exc}") from exc


def _gcs(parts: SplitResult, environ: Mapping[str, str]) -> _Client:
    endpoint = environ.get("GOOGLE_BASE_URL") or environ.get("STORAGE_EMULATOR_HOST", "")
    config = {"base_url": endpoint} if endpoint else {}
    if "STORAGE_EMULATOR_HOST" in environ:  # which checks no signature, and there is no account to sign with
        config["skip_signature"] = "true"
    return _Client(GCSStore, config, endpoint)


def _azure(parts: SplitResult, environ: Mapping[str, str]) -> _Client:
    account = environ.get("AZURE_ACCOUNT_NAME") or (
        (parts.hostname or "").partition(".")[0] if parts.username is not None else ""
    )
    endpoint = environ.get("AZURE_SERVICE_URL", environ.get("AZURE_STORAGE_ENDPOINT", "")).rstrip("/")
    given = {"account_name": account, "endpoint": endpoint, "token": environ.get("AZURE_ACCESS_TOKEN", "")}
    return _Client(AzureStore, {name: value for name, value in given.items() if value}, endpoint)


_CLIENTS: Mapping[str, Callable[[SplitResult, Mapping[str, str]], _Client]] = MappingProxyType(
    {"s3": _s3, "gs": _gcs, "az": _azure, "abfs": _azure, "abfss": _azure}
)
