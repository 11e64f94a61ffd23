"""The detectors of one process, by name, each with the artifact that serves it now.

Invariant: an event is judged wholly by the artifact that served its detector when judging began; an artifact that is
replaced ends once all that it was given is answered, and nothing holds on to it then.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Protocol, runtime_checkable

from wayside.detectors.artifacts.artifact import Artifact
from wayside.detectors.drift.settings import WindowSettings
from wayside.detectors.kinds.registry import STATEFUL_KINDS
from wayside.detectors.scoring.calibration import Calibration
from wayside.detectors.serving.answering import PLAIN, Answer, Answering, Wanted
from wayside.detectors.tabular.schema import Schema
from wayside.eventing.errors import ConfigurationError, WaysideError
from wayside.eventing.event import CloudEvent
from wayside.eventing.http.admin import Check, View
from wayside.eventing.sink import Lifecycle
from wayside.eventing.verdict import DetectorIdentity

_VERSION_DIGITS = 12


class Service(Answering, Lifecycle, Protocol):
    """What serves one artifact: rows as they come, a memory that they move on, or windows of them."""

    @property
    def checks(self) -> Mapping[str, Check]: ...


class DetectorUnloaded(WaysideError):
    """The detector was unloaded by hand; nothing serves it until it is loaded again."""


@dataclass(frozen=True, slots=True)
class Card:
    """What is told of an artifact, and compared with the next one; it holds none of its arrays."""

    identity: DetectorIdentity
    schema: Schema
    windows: WindowSettings | None
    threshold: float | None
    gives_feature_scores: bool
    provenance: Mapping[str, Any]

    @classmethod
    def of(cls, artifact: Artifact, identity: DetectorIdentity) -> "Card":
        known = artifact.calibration
        threshold = None if known is None else Calibration(known.scores, artifact.alpha).threshold
        explains = known is not None and known.feature_thresholds is not None
        return cls(identity, artifact.schema, artifact.windows, threshold, explains, artifact.provenance)

    @property
    def version(self) -> str:
        """The digest, cut to what a person compares."""
        return self.identity.digest[:_VERSION_DIGITS]


@runtime_checkable
class _Closed(Protocol):
    """A detector that holds more than memory, and is closed by whoever restored it."""

    def close(self) -> None: ...


def nothing_held() -> None:
    """The `release` of a detector that is nothing but memory."""


def release_of(detector: object) -> Callable[[], None]:
    """The `release` of a detector that was restored."""
    return detector.close if isinstance(detector, _Closed) else nothing_held


@dataclass(frozen=True, slots=True)
class Loaded:
    """An artifact restored: its service, and what is told of it. `release` gives back what its detector holds besides
    memory (a process of its own); it may block, and may be called twice."""

    card: Card
    service: Service
    views: Mapping[str, View] = field(default_factory=dict)
    release: Callable[[], None] = nothing_held

    async def stop(self) -> None:
        """End its service, then what its detector holds."""
        await self.service.stop()
        await asyncio.to_thread(self.release)


class Tenure:
    """An artifact's time in service: whoever judges by it enters, and it ends when the last of them has left."""

    def __init__(self, loaded: Loaded) -> None:
        self.loaded = loaded
        self._in_hand = 0
        self._left = asyncio.Event()

    def __enter__(self) -> Loaded:
        self._in_hand += 1
        return self.loaded

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._in_hand -= 1
        self._left.set()

    async def end(self) -> None:
        """Wait for those who judge by it, then stop its service."""
        while self._in_hand:
            self._left.clear()
            await self._left.wait()
        await self.loaded.stop()


class ServedDetector:
    """One detector under its name. `uri` is where its artifacts come from."""

    def __init__(self, name: str, uri: str, loaded: Loaded) -> None:
        self.name = name
        self.uri = uri
        self.card = loaded.card
        self.types = loaded.service.types
        self.metrics = loaded.service.metrics
        self.may_drop = loaded.service.may_drop
        self._tenure: Tenure | None = Tenure(loaded)

    @property
    def is_loaded(self) -> bool:
        return self._tenure is not None

    @property
    def judges_rows(self) -> bool:
        return self.card.windows is None

    @property
    def is_replaceable(self) -> bool:
        """Whether another artifact can take over: nothing is kept that belongs to the one in service."""
        return self.judges_rows and self.card.identity.kind not in STATEFUL_KINDS

    @property
    def checks(self) -> Mapping[str, Check]:
        """Of the artifact in service; a detector that was unloaded on purpose fails none."""
        return {} if self._tenure is None else self._tenure.loaded.service.checks

    @property
    def views(self) -> Mapping[str, View]:
        return {} if self._tenure is None else self._tenure.loaded.views

    def using(self) -> Tenure:
        """The artifact in service, to be entered while it judges. Raises `DetectorUnloaded`."""
        if self._tenure is None:
            raise DetectorUnloaded(f"detector {self.name!r} is unloaded")
        return self._tenure

    async def answer(self, event: CloudEvent, wanted: Wanted = PLAIN) -> Answer:
        """The answer of the artifact in service. Raises what its service raises, and `DetectorUnloaded`."""
        with self.using() as loaded:
            return await loaded.service.answer(event, wanted)

    async def start(self) -> None:
        if self._tenure is not None:
            await self._tenure.loaded.service.start()

    async def stop(self) -> None:
        """End the artifact in service. May be called twice or before `start`."""
        if self._tenure is not None:
            await self._tenure.loaded.stop()

    async def replace(self, loaded: Loaded) -> None:
        """Put another artifact into service between two events; returns once the old one has ended."""
        await loaded.service.start()
        before, self._tenure, self.card = self._tenure, Tenure(loaded), loaded.card
        if before is not None:
            await before.end()

    async def unload(self) -> None:
        """Take the artifact out of service; what it was given is answered."""
        before, self._tenure = self._tenure, None
        if before is not None:
            await before.end()


class Catalogue:
    """All detectors of a process. Events that name none are for the only one, or for `default`."""

    def __init__(self, detectors: Iterable[ServedDetector], default: str | None = None) -> None:
        """Raises `ConfigurationError` where two share a name, or none has the default's."""
        found = list(detectors)
        self._detectors: Mapping[str, ServedDetector] = {detector.name: detector for detector in found}
        if len(self._detectors) < len(found):
            raise ConfigurationError("two artifacts were fitted under one name: serve them as --artifact NAME=URI")
        if default is not None and default not in self._detectors:
            raise ConfigurationError(f"--default {default} is no detector: there are {', '.join(self._detectors)}")
        self._default = found[0].name if default is None and len(found) == 1 else default

    def __iter__(self) -> Iterator[ServedDetector]:
        return iter(self._detectors.values())

    def __len__(self) -> int:
        return len(self._detectors)

    @property
    def names(self) -> list[str]:
        return list(self._detectors)

    def get(self, name: str) -> ServedDetector | None:
        return self._detectors.get(name)

    def resolve(self, name: str | None) -> ServedDetector | None:
        """Who takes events that name `name`, or nobody; None where there is no such detector, or it is unloaded."""
        wanted = self._default if name is None else name
        found = None if wanted is None else self._detectors.get(wanted)
        return found if found is not None and found.is_loaded else None

    @property
    def checks(self) -> Mapping[str, Check]:
        """One for each detector: all that its artifact in service checks."""
        return {f"detector {each.name}": _all_pass(each) for each in self}

    async def start(self) -> None:
        for detector in self:
            await detector.start()

    async def stop(self) -> None:
        for detector in reversed(list(self)):
            await detector.stop()


def _all_pass(detector: ServedDetector) -> Check:
    return lambda: all(passes() for passes in detector.checks.values())
