"""A window detector's service: its store of rows and windows, its outbox, and what of events becomes rows.

Invariant: it is opened only where it has a folder of its own and somewhere to post its verdicts to.
"""

from wayside.detectors.artifacts.artifact import Artifact
from wayside.detectors.drift.service.intake import Intake, PairIntake, SideIntake
from wayside.detectors.drift.service.outbox import Outbox
from wayside.detectors.drift.service.service import DriftDetector, DriftService
from wayside.detectors.drift.service.store import DriftStore
from wayside.detectors.scoring.judge import restore_window_detector
from wayside.detectors.serving.catalogue import Card, Loaded
from wayside.detectors.serving.metrics import DetectorMetrics
from wayside.detectors.serving.settings import DetectSettings
from wayside.detectors.tabular.event_rows import Side
from wayside.eventing.backoff import Backoff
from wayside.eventing.errors import ConfigurationError
from wayside.eventing.sink import Sink

_BACKOFF_LIMIT_S = 15.0


def restore_windows(
    artifact: Artifact, name: str, settings: DetectSettings, metrics: DetectorMetrics, verdicts: Sink
) -> Loaded:
    """The service, not started; it owns `verdicts`. Raises `ConfigurationError`."""
    if settings.data is None:
        raise ConfigurationError(f"{artifact.kind} judges windows: it needs --data, the folder of its rows and windows")
    detector, size = restore_window_detector(artifact)
    identity = artifact.identity(name)
    store = DriftStore(settings.data, identity.name, detector.features, settings.side)
    outbox = Outbox(store, verdicts, metrics, Backoff(limit_s=_BACKOFF_LIMIT_S))
    drift = DriftDetector(detector, identity, size, settings.retain_windows)
    intake = _intake(artifact, settings, store, metrics)
    service = DriftService(drift, store, outbox, metrics, settings.types, intake)
    return Loaded(Card.of(artifact, identity), service, {"/windows": store.view})


def _intake(artifact: Artifact, settings: DetectSettings, store: DriftStore, metrics: DetectorMetrics) -> Intake:
    if settings.side is Side.PAIR:
        return PairIntake(store, artifact.features, settings.join, metrics)
    return SideIntake(store, artifact.features, artifact.schema.names)
