"""Finds the Broker and Trigger objects in files and folders of Kubernetes YAML.

Source: Kubernetes objects as `kubectl get -o yaml` writes them, lists included.
Invariant: an object of the group eventing.knative.dev that is a Broker or a Trigger is yielded or refused; every other
object is passed over and named in the log.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from wayside.eventing.errors import ConfigurationError
from wayside.eventing.triggers.fields import Fields, Origin, shown
from wayside.eventing.triggers.node import Node
from wayside.eventing.triggers.yaml_nodes import read_nodes

log = logging.getLogger("wayside.broker")
GROUP = "eventing.knative.dev"
LIMIT_BYTES = 2 << 20
_LIMIT_FILES = 1000
_LISTS = ("List", "BrokerList", "TriggerList")
_TOP_LEVEL = ("apiVersion", "kind", "metadata", "spec", "status")


def read_documents(paths: Iterable[Path]) -> Iterator[Fields]:
    """Every Broker and Trigger, in the order of files and documents. Raises `ConfigurationError`."""
    for path in paths:
        for file in manifest_files(path):
            yield from documents_of(_read(file), str(file))


def manifest_files(path: Path) -> Sequence[Path]:
    """The file, or the *.yaml and *.yml of the folder in their order, without hidden ones, which editors leave.

    Raises `ConfigurationError` where there is none, or more than a thousand.
    """
    try:
        if not path.is_dir():
            return [path]
        found = sorted(file for file in path.iterdir() if _is_manifest(file.name))
    except OSError as exc:
        raise ConfigurationError(f"cannot read {path}: {exc.strerror}") from exc
    if not found:
        raise ConfigurationError(f"{path}: no *.yaml in this folder")
    if len(found) > _LIMIT_FILES:
        raise ConfigurationError(f"{path}: {len(found)} files are more than {_LIMIT_FILES}: is this the right folder?")
    return found


def _is_manifest(name: str) -> bool:
    return name.endswith((".yaml", ".yml")) and not name.startswith(".")


def _read(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            content = opened.read(LIMIT_BYTES + 1)
    except OSError as exc:
        raise ConfigurationError(f"cannot read {file}: {exc.strerror}") from exc
    return content


def documents_of(content: bytes, name: str) -> Iterator[Fields]:
    """The Brokers and Triggers in the bytes of a file called `name`. Raises `ConfigurationError`."""
    if len(content) > LIMIT_BYTES:
        raise ConfigurationError(f"{name}: is over {LIMIT_BYTES >> 20} MiB: split it into several files")
    try:
        text = content.decode()
    except UnicodeDecodeError as exc:
        line = content.count(b"\n", 0, exc.start) + 1
        raise ConfigurationError(f"{name}:{line}: is not YAML in UTF-8: {exc.reason}") from exc
    for number, root in enumerate(read_nodes(text, name), 1):
        origin = Origin(name, f"document {number}")
        for item in _items(root):
            if not isinstance(item.value, Mapping):
                line, column = item.place
                raise ConfigurationError(
                    f"{name}:{line}:{column}: document {number}: is not a mapping with apiVersion and kind"
                )
            document = Fields(item, origin)
            if _is_ours(document):
                yield document


def _items(root: Node) -> Sequence[Node]:
    """A document's objects: itself, or those of the `List` that `kubectl get -o yaml` writes; none of an empty one."""
    if root.value is None:
        return ()
    if isinstance(root.value, Mapping) and "kind" in root.value and "items" in root.value:
        items = root.value["items"].node.value
        if root.value["kind"].node.value in _LISTS and isinstance(items, tuple):
            return items
    return (root,)


def _is_ours(document: Fields) -> bool:
    kind, version = document.text("kind"), document.text("apiVersion")
    group = version.partition("/")[0]
    if group != GROUP or kind not in ("Broker", "Trigger"):
        log.info("%s: %s %s is nothing to the embedded broker", document.where, shown(version), shown(kind))
        return False
    if version != f"{GROUP}/v1":
        document.fail("apiVersion", f"{shown(version)!r} is not supported: use {GROUP}/v1")
    document.allow(_TOP_LEVEL)
    return True
