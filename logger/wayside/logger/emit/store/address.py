"""Where a log url of a store points: which cloud or file system, which bucket, and the folder in it.

Source: kserve/kserve pkg/logger/store.go for the agent's schemes and how it reads them.
Invariant: an address holds no credentials, and no part of it leads out of its bucket or folder.
"""

import re
from dataclasses import dataclass
from enum import Enum
from urllib.parse import SplitResult, unquote, urlsplit

from wayside.eventing.errors import ConfigurationError


class Cloud(Enum):
    """Who keeps the objects."""

    S3 = "s3"
    GCS = "gs"
    AZURE = "abfs"
    FOLDER = "file"


_SCHEMES = {
    "s3": Cloud.S3,
    "s3a": Cloud.S3,
    "gs": Cloud.GCS,
    "abfs": Cloud.AZURE,
    "abfss": Cloud.AZURE,
    "file": Cloud.FOLDER,
}
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,221}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class StoreAddress:
    """A parsed log url. `bucket` is Azure's container, and empty for a folder; `account` is Azure's, where the URL
    names one; `prefix` has no slash at either end. For a folder it is the path, absolute."""

    cloud: Cloud
    bucket: str
    account: str
    prefix: str

    @classmethod
    def parse(cls, text: str) -> "StoreAddress":
        """Raises `ConfigurationError` for what is no URL of a store, or holds a password."""
        try:
            parts = urlsplit(text)
            cloud = _SCHEMES[parts.scheme]
        except (ValueError, KeyError) as exc:
            raise ConfigurationError(
                f"a log url for a store begins with {', '.join(_SCHEMES)}: s3://bucket/folder"
            ) from exc
        if parts.password is not None:
            raise ConfigurationError("the log url holds a password: credentials come from the environment")
        path = _decoded(parts)
        if cloud is Cloud.FOLDER:
            return cls(cloud, "", "", _folder(parts, path))
        bucket = unquote(parts.username) if parts.username else parts.netloc.rpartition("@")[2]
        if _BUCKET.fullmatch(bucket) is None:
            raise ConfigurationError(
                f"{bucket!r} in the log url is no name of a bucket: write {parts.scheme}://bucket/folder"
            )
        account = (parts.hostname or "").partition(".")[0] if parts.username and cloud is Cloud.AZURE else ""
        return cls(cloud, bucket, account, path.strip("/"))


def is_store_url(text: str) -> bool:
    """Whether a log url asks for a store by its scheme alone; `file:` does so only beside a store path."""
    scheme, mark, _ = text.partition("://")
    return bool(mark) and _SCHEMES.get(scheme, Cloud.FOLDER) is not Cloud.FOLDER


def _decoded(parts: SplitResult) -> str:
    path = unquote(parts.path)
    if ".." in path.split("/") or _CONTROL.search(path):
        raise ConfigurationError(f"the path {path!r} of the log url holds '..' or a control character")
    return path


def _folder(parts: SplitResult, path: str) -> str:
    if parts.netloc not in ("", "localhost") or not path.startswith("/"):
        raise ConfigurationError("a log url to a folder of this machine has three slashes: file:///folder")
    return path
