"""Where an artifact lies, as a URI, and how it is read from there.

Source: kserve/kserve python/storage and pkg/webhook/admission/pod/storage_initializer_injector.go, for the schemes and
where claims and models are mounted.
Invariant: nothing is listed and nothing is written: `detector.json` names every file and its size, each is read within
that size and verified. What an error says holds no password, token or query of a URI.
"""

import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from urllib.parse import SplitResult, unquote, urlsplit

from wayside.detectors.artifacts.artifact import Artifact
from wayside.detectors.artifacts.fetching import FetchSettings
from wayside.detectors.artifacts.files import Files, FolderFiles
from wayside.detectors.artifacts.folder import MANIFEST, load
from wayside.eventing.errors import ConfigurationError

log = logging.getLogger(__name__)
_MANIFEST_LIMIT_BYTES = 64 << 20
_DIGEST_CHARACTERS = 64


def open_artifact(uri: str, settings: FetchSettings | None = None) -> Artifact:
    """Read and verify the artifact at a URI, or at a path of this machine. Blocks.

    Raises `ConfigurationError` that says where it looked and what to do; `MissingExtra` where a library is missing.
    """
    files = files_at(uri, settings)
    artifact = load(files)
    if uri.lower().startswith("pvc:"):  # which is in one of several places
        log.info("artifact %s is read from %s", artifact.digest[:12], files.where)
    return artifact


def stated_digest(uri: str, settings: FetchSettings | None = None) -> str:
    """The digest that the artifact at a URI says it has, by its `detector.json` alone: cheap, and not verified.

    Raises `ConfigurationError` where there is no such file, or it states none.
    """
    files = files_at(uri, settings)
    try:
        digest = json.loads(files.read(MANIFEST, _MANIFEST_LIMIT_BYTES))["digest"]
    except (KeyError, TypeError, ValueError, RecursionError) as exc:
        raise ConfigurationError(f"{MANIFEST} in {files.where} states no digest ({type(exc).__name__})") from exc
    if not isinstance(digest, str) or len(digest) != _DIGEST_CHARACTERS:
        raise ConfigurationError(f"{MANIFEST} in {files.where} states a digest that is none")
    return digest


def files_at(uri: str, settings: FetchSettings | None = None) -> Files:
    """The files at a URI: nothing is read yet. Raises `ConfigurationError`, `MissingExtra`."""
    settings = settings or FetchSettings()
    scheme, mark, _ = uri.partition("://")
    if not mark:
        return FolderFiles(_path(uri))
    if scheme.lower() not in _SCHEMES:
        raise ConfigurationError(
            f"an artifact's location {scheme[:16]}://… is not known: give a folder, or {', '.join(_SCHEMES)}://"
        )
    try:
        parts = urlsplit(uri)
        _ = parts.port  # raises where it is no number
    except ValueError as exc:
        raise ConfigurationError(f"the location of an artifact is no URI: {exc}") from None
    return _SCHEMES[scheme.lower()](parts, settings)


def _path(text: str) -> Path:
    if not text or "\0" in text:
        raise ConfigurationError("the location of an artifact is empty: name a folder or a URI")
    return Path(text)


def _local(parts: SplitResult, settings: FetchSettings) -> Files:
    path = unquote(parts.path)
    if parts.netloc not in ("", "localhost") or not path.startswith("/"):
        raise ConfigurationError("an artifact on this machine has three slashes in its URI: file:///folder")
    return FolderFiles(_path(path))


def _claim(parts: SplitResult, settings: FetchSettings) -> Files:
    """`pvc://CLAIM/PATH`: where KServe mounts a claim, one of several below its name; or the folder within it as the
    model, where no other artifact could be meant by that."""
    path = unquote(parts.path).strip("/")
    if not parts.netloc or ".." in path.split("/"):
        raise ConfigurationError("an artifact on a claim is pvc://CLAIM/FOLDER, without '..'")
    places = [settings.claims_at / parts.netloc / path, settings.claims_at / path]
    if settings.is_only_artifact:
        places.append(settings.models_at)
    for place in places:
        if (place / MANIFEST).is_file():
            return FolderFiles(place)
    looked = ", ".join(str(place) for place in places)
    raise ConfigurationError(
        f"pvc://{parts.netloc}/{path}: there is no {MANIFEST} in {looked}: mount the claim there, or put the artifact"
        " into it with 'wayside fit … --out DIR'"
    )


def _bucket(parts: SplitResult, settings: FetchSettings) -> Files:
    from wayside.detectors.artifacts.bucket_files import BucketFiles  # an extra, which only buckets need

    return BucketFiles(parts, settings)


def _hub(parts: SplitResult, settings: FetchSettings) -> Files:
    from wayside.detectors.artifacts.hub_files import HubFiles  # an extra, which only the hub needs

    return HubFiles(parts, settings)


def _web(parts: SplitResult, settings: FetchSettings) -> Files:
    from wayside.detectors.artifacts.web_files import WebFiles  # TLS and HTTP, which a folder does without

    return WebFiles(parts, settings)


_SCHEMES: Mapping[str, Callable[[SplitResult, FetchSettings], Files]] = MappingProxyType(
    {
        "file": _local,
        "pvc": _claim,
        "s3": _bucket,
        "gs": _bucket,
        "az": _bucket,
        "abfs": _bucket,
        "abfss": _bucket,
        "hf": _hub,
        "http": _web,
        "https": _web,
    }
)
