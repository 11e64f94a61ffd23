"""What the object of a batch is called.

Source: kserve/kserve pkg/logger/store.go: prefix/namespace/service/component/store path/id-type.extension.
Invariant: the same batch has the same name each time it is sent, and nothing in an event can make a name lie elsewhere
than in its folder. Two different batches share a name only as KServe's agent has it, where that was asked for.
"""

import posixpath
import re
from collections.abc import Sequence
from hashlib import sha256
from urllib.parse import quote

from wayside.eventing.event import CloudEvent
from wayside.eventing.identity import stable_id
from wayside.eventing.vocabulary import ServiceKey

_ID_LIMIT = 128
_SEPARATORS = re.compile(r"/+")


class ObjectNames:
    """Names below `prefix`, in the folder `store_path` of each component of a service."""

    def __init__(self, prefix: str, store_path: str, *, kserve_compatible: bool) -> None:
        self._prefix = prefix.strip("/")
        self._store_path = store_path
        self._kserve_compatible = kserve_compatible

    def name(self, batch: Sequence[CloudEvent], extension: str) -> str:
        """The whole name, without a slash in front. The first event lends the batch its id and type."""
        first = batch[0]
        stem = _escaped(first.id)
        if len(batch) > 1 and not self._kserve_compatible:
            stem += f"-{batch_digest(batch)[:16]}"
        kind = _escaped(first.type.rpartition(".")[2])
        return posixpath.join(self._folder(ServiceKey.of(first)), f"{stem}-{kind}.{extension}")

    def _folder(self, key: ServiceKey) -> str:
        service = [part for part in (key.namespace, key.service, key.component) if part]
        folder = _cleaned("/".join([*service, self._store_path]))
        return posixpath.join(self._prefix, folder) if folder else self._prefix


def batch_digest(batch: Sequence[CloudEvent]) -> str:
    """Which events a batch holds, and in what order, in hex."""
    return stable_id(*[part for event in batch for part in event.key])


def _cleaned(path: str) -> str:
    """As Go's path.Join, save that no `..` leads above the start."""
    return _SEPARATORS.sub("/", posixpath.normpath(f"/{path}")).strip("/")


def _escaped(text: str) -> str:
    """Fit to be one part of a path, and a different one for each text. UUIDs and their like stay as they are."""
    escaped = quote(text, safe="")
    if len(escaped) <= _ID_LIMIT:
        return escaped
    return f"{escaped[: _ID_LIMIT - 65]}~{sha256(text.encode()).hexdigest()}"
