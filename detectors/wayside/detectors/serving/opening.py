"""From artifacts to services: what each artifact is served by, and what it needs for that.

Invariant: every artifact is read, verified, restored and warmed before a port is opened or a consumer group joined;
detectors that keep state have a folder of their own, and one process serves one of them alone.
"""

from dataclasses import dataclass
from functools import partial

from wayside.detectors.artifacts.artifact import Artifact
from wayside.detectors.artifacts.fetching import FetchSettings
from wayside.detectors.artifacts.locations import open_artifact, stated_digest
from wayside.detectors.kinds.protocol import Device, Execution
from wayside.detectors.kinds.registry import STATEFUL_KINDS
from wayside.detectors.scoring.judge import RowJudge
from wayside.detectors.serving.catalogue import Card, Catalogue, Loaded, ServedDetector, release_of
from wayside.detectors.serving.metrics import DetectorMetrics, ServiceMetrics
from wayside.detectors.serving.reload import ArtifactSource, ReloadRefused, warm
from wayside.detectors.serving.row_service import RowService
from wayside.detectors.serving.settings import ArtifactAt, DetectSettings
from wayside.detectors.tabular.event_rows import Side
from wayside.eventing.errors import ConfigurationError
from wayside.eventing.outbound import event_sink
from wayside.eventing.sink import Sink

_SINK_TIMEOUT_S = 10.0
_GRAPH = ".onnx"


@dataclass(frozen=True, slots=True)
class Opening:
    """Makes services of artifacts as the settings of one process say."""

    settings: DetectSettings
    metrics: ServiceMetrics

    def catalogue(self) -> Catalogue:
        """All detectors that the settings name, none of them started. Raises `ConfigurationError`."""
        _check_device(self.settings.execution)
        return Catalogue([self._open(at) for at in self.settings.artifacts], self.settings.default)

    def reloads(self) -> ArtifactSource:
        """Where the next artifacts of these detectors come from."""
        fetch = self._fetch
        return ArtifactSource(
            partial(open_artifact, settings=fetch), partial(stated_digest, settings=fetch), self.restore_rows
        )

    @property
    def _fetch(self) -> FetchSettings:
        return FetchSettings(is_only_artifact=len(self.settings.artifacts) == 1)

    def restore_rows(self, artifact: Artifact, name: str) -> Loaded:
        """A row service, warmed. Raises `ConfigurationError`, also for a kind that keeps state, and `ReloadRefused`."""
        if artifact.kind in STATEFUL_KINDS:
            raise ConfigurationError(f"{artifact.kind} keeps state on disk, and cannot be served without")
        judge = RowJudge.of(artifact, self.settings.execution)
        release = release_of(judge.detector)
        try:
            warm(judge)
        except BaseException:
            release()
            raise
        identity = artifact.identity(name)
        metrics = DetectorMetrics(name, self.metrics)
        metrics.name_device(self._device(artifact))
        settings = self.settings
        service = RowService(judge, identity, metrics, settings.batch, settings.types, settings.route.payload)
        return Loaded(Card.of(artifact, identity), service, release=release)

    def _open(self, at: ArtifactAt) -> ServedDetector:
        artifact = open_artifact(at.uri, self._fetch)
        if self.settings.terms.check is not None:
            self.settings.terms.check(artifact)
        name = at.name or artifact.name
        if artifact.is_window_detector or artifact.kind in STATEFUL_KINDS:
            self._check_alone(artifact)
        if artifact.is_window_detector:
            return ServedDetector(name, at.uri, self._restore_windows(artifact, name))
        self._check_no_pairs(artifact)
        if artifact.kind in STATEFUL_KINDS:
            return ServedDetector(name, at.uri, self._restore_stateful(artifact, name))
        try:
            return ServedDetector(name, at.uri, self.restore_rows(artifact, name))
        except ReloadRefused as exc:
            raise ConfigurationError(f"{at.uri}: {exc}") from exc

    def _check_alone(self, artifact: Artifact) -> None:
        if len(self.settings.artifacts) > 1:
            raise ConfigurationError(
                f"{artifact.kind} keeps state on disk: serve it in a process of its own, with its own --data"
            )

    def _check_no_pairs(self, artifact: Artifact) -> None:
        if self.settings.side is Side.PAIR:
            raise ConfigurationError(
                f"{artifact.kind} judges rows and keeps nothing, and a pair's first part would have to wait on a"
                " volume: serve it --on request or --on response"
            )
        if self.settings.side.column is not None:
            raise ConfigurationError(
                f"{artifact.kind} judges rows of inputs or predictions: --on {self.settings.side.value} is for window"
                " detectors"
            )

    def _device(self, artifact: Artifact) -> str:
        """What scores it: a kind without a graph scores on the CPU whatever is asked."""
        has_graph = any(name.endswith(_GRAPH) for name in artifact.state.files)
        return _check_device(self.settings.execution) if has_graph else Device.CPU.value

    def _restore_stateful(self, artifact: Artifact, name: str) -> Loaded:
        from wayside.detectors.serving.stateful import open_stateful  # a store, which rows do without

        settings = self.settings
        if settings.pull is not None:
            raise ConfigurationError(
                f"{artifact.kind} judges each event by those before it, and --source would bring them in another order"
                " after a rebalance: have events posted to it"
            )
        identity, metrics = artifact.identity(name), DetectorMetrics(name, self.metrics)
        service = open_stateful(
            *(artifact, identity, settings.data, metrics, settings.batch, settings.types),
            payload_limits=settings.route.payload,
        )
        return Loaded(Card.of(artifact, identity), service, service.views)

    def _restore_windows(self, artifact: Artifact, name: str) -> Loaded:
        from wayside.detectors.serving.window_opening import restore_windows  # a store, which rows do without

        settings = self.settings
        if settings.sink_url is None:
            raise ConfigurationError(
                f"{artifact.kind} judges windows: it needs --data, and --sink-url for its verdicts"
            )
        return restore_windows(artifact, name, settings, DetectorMetrics(name, self.metrics), verdict_sink(settings))


def verdict_sink(settings: DetectSettings) -> Sink:
    """Where verdicts go that are no reply. Raises `ConfigurationError` for a bad file, `MissingExtra`."""
    assert settings.sink_url is not None, "checked when the command line was parsed"
    return event_sink(settings.sink_url, _SINK_TIMEOUT_S, settings.kafka_config)


def _check_device(execution: Execution) -> str:
    """The device in use, by name. Raises `ConfigurationError` without a GPU where one is asked for."""
    if execution.device is Device.CPU:
        return Device.CPU.value
    from wayside.detectors.networks.devices import check_device  # loads onnxruntime, which not every kind needs

    return check_device(execution.device)
