"""A window detector's service: its store of rows and windows, its outbox, and what of events becomes rows.

Invariant: it is opened only where it has a folder of its own and somewhere to post its verdicts to, and where an event
is known again for longer than its rows may still come into a window.
"""

from pathlib import Path

from wayside.detectors.artifacts.artifact import Artifact
from wayside.detectors.drift.judging.judge import WindowJudge
from wayside.detectors.drift.service.intake import Intake, PairIntake, SideIntake
from wayside.detectors.drift.service.outbox import Outbox
from wayside.detectors.drift.service.reading import RowReader
from wayside.detectors.drift.service.room import Room
from wayside.detectors.drift.service.service import DriftParts, DriftService, room_of
from wayside.detectors.drift.service.store import DriftStore, Reader
from wayside.detectors.drift.settings import CountCut, Cut, WindowLimits
from wayside.detectors.serving.catalogue import Card, Loaded, release_of
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
    judge = WindowJudge.of(artifact, artifact.identity(name), settings.execution)
    release = release_of(judge.detector)
    try:
        service = _service(judge, settings.data, settings, metrics, verdicts)
    except BaseException:
        release()
        raise
    return Loaded(Card.of(artifact, judge.identity), service, {"/windows": service.view}, release)


def _service(
    judge: WindowJudge, folder: Path, settings: DetectSettings, metrics: DetectorMetrics, verdicts: Sink
) -> DriftService:
    _check(judge, settings)
    store = DriftStore(folder, Reader(judge.identity, len(judge.schema.columns), settings.side), settings.remember_s)
    room = room_of(settings.windows)
    outbox = Outbox(store, verdicts, metrics, Backoff(limit_s=_BACKOFF_LIMIT_S))
    intake = _intake(judge, settings, store, room, metrics)
    parts = DriftParts(judge, store, outbox, intake, room, settings.windows)
    return DriftService(parts, metrics, settings.types)


def _check(judge: WindowJudge, settings: DetectSettings) -> None:
    if settings.remember_s <= judge.settings.lateness_s:
        raise ConfigurationError(
            f"--remember {settings.remember_s:g} is no longer than rows may be late, {judge.settings.lateness_s:g} s:"
            " an event that came again could be taken twice"
        )
    if settings.side.column is not None and len(judge.schema.columns) != 1:
        raise ConfigurationError(
            f"--on {settings.side.value} has one column, {settings.side.column!r}; the detector was fitted on"
            f" {len(judge.schema.columns)}"
        )
    _check_room(judge.settings.cut, len(judge.schema.columns), settings.windows)


def _check_room(cut: Cut, columns: int, limits: WindowLimits) -> None:
    """A window of so many rows that they are never held together would never close. Of spans, nobody knows the rows."""
    if not isinstance(cut, CountCut):
        return
    size = 8 * cut.rows * columns
    wanted = [
        f"{flag} {size} or more"
        for flag, limit in (("--key-bytes", limits.key_bytes), ("--all-bytes", limits.all_bytes))
        if limit < size
    ]
    if wanted:
        raise ConfigurationError(
            f"a window of {cut.rows} rows of {columns} columns takes {size} bytes, more than is held of a key: give"
            f" {' and '.join(wanted)}, or fit smaller windows"
        )


def _intake(
    judge: WindowJudge, settings: DetectSettings, store: DriftStore, room: Room, metrics: DetectorMetrics
) -> Intake:
    windows = judge.settings
    reader = RowReader(judge.schema, settings.side, windows.compared, windows.missing, settings.route.payload)
    if settings.side is Side.PAIR:
        return PairIntake(store, reader, room, settings.join, metrics)
    return SideIntake(store, reader, room)
