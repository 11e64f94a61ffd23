"""Hot reload: a detector's next artifact is verified, compared and warmed beside the one in service, then swapped.

Source: the model repository extension of the Open Inference Protocol, as MLServer and Triton offer it.
Invariant: an artifact takes over only where everything that the one before took in is taken in the same way; else that
one keeps serving, and whoever asked is told why. Nothing of it runs on the event loop but the swap.
"""

import asyncio
import logging
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge

from wayside.detectors.artifacts.artifact import Artifact
from wayside.detectors.kinds.registry import CODE_KINDS, STATEFUL_KINDS
from wayside.detectors.scoring.judge import RowJudge
from wayside.detectors.serving.catalogue import Card, Catalogue, Loaded, ServedDetector
from wayside.eventing.errors import ConfigurationError, WaysideError

log = logging.getLogger("wayside.detectors.reload")
_OUTCOMES = ("replaced", "unchanged", "refused")


class ReloadRefused(WaysideError):
    """The artifact cannot take the place of the one in service; the reason says what to do."""


@dataclass(frozen=True, slots=True)
class Reloaded:
    """What became of a reload. The digests are equal where the artifact was in service already."""

    before: str
    after: str


@dataclass(frozen=True, slots=True)
class ArtifactSource:
    """Where reloads get artifacts from; all three may block, and are called in a thread.

    `open` reads and verifies what lies at a URI. `digest` reads only what it says of itself, and `restore` makes a
    service of it that is not started, under a detector's name. They raise `ConfigurationError`.
    """

    open: Callable[[str], Artifact]
    digest: Callable[[str], str]
    restore: Callable[[Artifact, str], Loaded]


class ReloadMetrics:
    """How often artifacts were replaced or refused, by detector, and whether the last try failed."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.reloads = Counter(
            "wayside_detector_reloads", "Reloads by outcome.", ("detector", "outcome"), registry=registry
        )
        self.failed = Gauge(
            "wayside_detector_reload_failed", "1 where the last reload was refused.", ("detector",), registry=registry
        )

    def begin(self, detector: str) -> None:
        """Show zeros for a detector before anything has happened to it."""
        self.failed.labels(detector).set(0)
        for outcome in _OUTCOMES:
            self.reloads.labels(detector, outcome)

    def count(self, detector: str, outcome: str) -> None:
        self.reloads.labels(detector, outcome).inc()
        self.failed.labels(detector).set(outcome == "refused")


class Reloader:
    """Replaces the artifacts of a catalogue's detectors: when asked, on SIGHUP, and every `every_s` where that is set.

    One reload at a time.
    """

    def __init__(
        self, catalogue: Catalogue, source: ArtifactSource, metrics: ReloadMetrics, every_s: float | None = None
    ) -> None:
        self._catalogue = catalogue
        self._source = source
        self._metrics = metrics
        self._every_s = every_s
        self._one_at_a_time = asyncio.Lock()
        self._woken = asyncio.Event()
        self._hung_up = False
        self._stopping = False
        self._told: dict[str, str] = {}
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        for name in self._catalogue.names:
            self._metrics.begin(name)
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._hang_up)
        self._task = asyncio.create_task(self._run(), name="reload")

    async def stop(self) -> None:
        """Let a reload in hand come to its end. May be called twice or before `start`."""
        if self._task is None:
            return
        asyncio.get_running_loop().remove_signal_handler(signal.SIGHUP)
        self._stopping = True
        self._woken.set()
        task, self._task = self._task, None
        await task

    async def reload(self, detector: ServedDetector) -> Reloaded:
        """Put the artifact that lies at the detector's URI into service. Raises `ReloadRefused`: nothing changed."""
        async with self._one_at_a_time:
            return await self._replace(detector)

    async def _replace(self, detector: ServedDetector) -> Reloaded:
        try:
            before, loaded = detector.card.identity.digest, await self._load(detector)
        except ReloadRefused as exc:
            self._refused(detector.name, str(exc))
            raise
        if loaded is not None:
            await detector.replace(loaded)
        self._done(detector, before)
        return Reloaded(before, detector.card.identity.digest)

    async def unload(self, detector: ServedDetector) -> None:
        """Take a detector out of service until it is loaded again. Raises `ReloadRefused` where it keeps state."""
        async with self._one_at_a_time:
            _check_stateless(detector)
            await detector.unload()
            log.info("detector %s: unloaded", detector.name)

    async def _load(self, detector: ServedDetector) -> Loaded | None:
        """The next artifact, ready to serve; None where it is the one in service."""
        _check_stateless(detector)
        try:
            return await asyncio.to_thread(prepare, self._source, detector)
        except ConfigurationError as exc:
            raise ReloadRefused(str(exc)) from exc
        except ReloadRefused:
            raise
        except Exception as exc:  # the edge of a reload: a graph that cannot be run harms what is in service no less
            log.exception("detector %s: the artifact at %s cannot be run", detector.name, detector.uri)
            raise ReloadRefused(f"the artifact cannot be run: {type(exc).__name__}: {exc}"[:512]) from exc

    async def _run(self) -> None:
        while True:
            await self._wait_turn()
            if self._stopping:
                return
            hung_up, self._hung_up = self._hung_up, False
            for detector in self._catalogue:
                if detector.is_loaded and detector.is_replaceable and (hung_up or await self._is_outdated(detector)):
                    await self._try(detector)

    async def _wait_turn(self) -> None:
        try:
            await asyncio.wait_for(self._woken.wait(), self._every_s)
        except TimeoutError:
            return
        self._woken.clear()

    async def _is_outdated(self, detector: ServedDetector) -> bool:
        try:
            stated = await asyncio.to_thread(self._source.digest, detector.uri)
        except ConfigurationError as exc:
            self._refused(detector.name, str(exc))
            return False
        if stated == detector.card.identity.digest:
            self._told.pop(detector.name, None)
            self._metrics.failed.labels(detector.name).set(0)
            return False
        return True

    async def _try(self, detector: ServedDetector) -> None:
        async with self._one_at_a_time:
            if not detector.is_loaded:  # it was unloaded since, by hand
                return
            with suppress(ReloadRefused):  # told and counted already; the artifact in service goes on
                await self._replace(detector)

    def _hang_up(self) -> None:
        self._hung_up = True
        self._woken.set()

    def _refused(self, name: str, reason: str) -> None:
        self._metrics.count(name, "refused")
        if self._told.get(name) != reason:  # every `every_s` the same line would drown the others
            log.warning("detector %s: the new artifact is refused: %s", name, reason)
        self._told[name] = reason

    def _done(self, detector: ServedDetector, before: str) -> None:
        self._told.pop(detector.name, None)
        after = detector.card.identity.digest
        self._metrics.count(detector.name, "unchanged" if before == after else "replaced")
        if before != after:
            log.info("detector %s: artifact %s took the place of %s", detector.name, after[:12], before[:12])


def prepare(source: ArtifactSource, detector: ServedDetector) -> Loaded | None:
    """The artifact at the detector's URI, checked and restored; None where it serves already. Blocks.

    Raises `ReloadRefused` where it does not fit, `ConfigurationError` where it cannot be read.
    """
    artifact = source.open(detector.uri)
    if artifact.digest == detector.card.identity.digest and detector.is_loaded:
        return None
    check_replacement(detector.card, artifact)
    return source.restore(artifact, detector.name)


def check_replacement(serving: Card, artifact: Artifact) -> None:
    """Raise `ReloadRefused` unless all that was understood so far is understood in the same way by `artifact`.

    Categories may be others: one that was never seen is a value like any. Kind, budget and calibration may be others,
    but for what can run code: the trust of whoever started the process was in a detector of that kind at this URI.
    """
    if artifact.kind in CODE_KINDS and serving.identity.kind not in CODE_KINDS:
        raise ReloadRefused(
            f"{artifact.kind} loads files that can run code, and the {serving.identity.kind} in service does not: start"
            " the process again with it, if you trust who made it"
        )
    if artifact.is_window_detector:
        raise ReloadRefused(f"{artifact.kind} judges windows, and the detector in service judges rows")
    if artifact.kind in STATEFUL_KINDS:
        raise ReloadRefused(f"{artifact.kind} keeps state on disk: serve it in a process of its own, with its --data")
    before, after = serving.schema.columns, artifact.schema.columns
    if len(before) != len(after):
        raise ReloadRefused(f"it takes {len(after)} columns, the one in service {len(before)}")
    for at, (old, new) in enumerate(zip(before, after, strict=True)):
        if (old.name, old.type) != (new.name, new.type):
            raise ReloadRefused(
                f"its column {at + 1} is {new.type} {new.name!r}, in service it is {old.type} {old.name!r}"
            )
        if old.missing and not new.missing:
            raise ReloadRefused(f"its {artifact.schema.describe(at)} may not be missing, in service it may")


def warm(judge: RowJudge) -> None:
    """Judge rows, so that what is built at the first call is built. Raises `ReloadRefused` where it cannot, or gives
    them no finite scores."""
    rows = np.zeros((2, len(judge.schema.columns)))  # two: what is right for one alone may be of a wrong shape
    try:
        scores = judge.score(rows)
        features = judge.feature_scores(rows) if judge.gives_feature_scores else rows
    except (ValueError, TypeError, IndexError, ArithmeticError) as exc:
        raise ReloadRefused(f"it cannot judge rows of zeros: {exc}"[:512]) from exc
    if scores.shape != rows.shape[:1] or features.shape != rows.shape or not np.isfinite(scores).all():
        raise ReloadRefused("it has no finite score for a row of zeros")


def _check_stateless(detector: ServedDetector) -> None:
    if not detector.is_replaceable:
        raise ReloadRefused(
            f"{detector.card.identity.kind} keeps state on disk that belongs to its artifact: start the process again"
        )
