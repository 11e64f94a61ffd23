"""Judges windows: schema, transform, detector, levels, evidence and alerts of one artifact together.

Invariant: a verdict, its alerts and the state after it are a pure function of the artifact, the window and the state
before it; time is event time. A window that cannot be judged is told as such, with the reason, and keeps its level for
the next: it is never "no drift", and harms no other.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from wayside.detectors.artifacts.artifact import REFIT, Artifact, Reference, Windowed
from wayside.detectors.drift.alerting.alerts import Alerting, Records
from wayside.detectors.drift.judging.comparison import ComparisonTrial
from wayside.detectors.drift.judging.evidence import MOST_RECORDS, Evidence, records_of
from wayside.detectors.drift.judging.holm import adjusted
from wayside.detectors.drift.judging.levels import Accrual, Levels, spent
from wayside.detectors.drift.judging.missing import RowChoice
from wayside.detectors.drift.judging.series import SeriesState
from wayside.detectors.drift.judging.summary import ReferenceSummary
from wayside.detectors.drift.judging.trial import ReferenceTrial, SequentialTrial, Trial, WindowTrial
from wayside.detectors.drift.settings import Compared, WindowSettings
from wayside.detectors.drift.windowing.values import Window
from wayside.detectors.kinds.protocol import (
    ComparesSamples,
    Execution,
    SequentialDetector,
    WindowDetector,
    WindowTest,
)
from wayside.detectors.scoring.judge import restore_window_detector
from wayside.detectors.tabular.schema import Schema
from wayside.eventing.clock import format_time
from wayside.eventing.errors import ConfigurationError
from wayside.eventing.event import CloudEvent
from wayside.eventing.verdict import DetectorIdentity
from wayside.eventing.window_findings import Findings, MovedFeature, PartVerdict, Spending
from wayside.eventing.window_verdict import RowRange, Stretch, WindowVerdict


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """What became of a window: its verdict as an event, the alerts that follow, the state of its series after it."""

    verdict: CloudEvent
    alerts: tuple[CloudEvent, ...]
    state: SeriesState
    outcome: str
    members: Sequence[RowRange]
    """All of the window's, also where the verdict leaves some out."""

    @property
    def is_drift(self) -> bool:
        return self.outcome == "drift"


@dataclass(frozen=True, slots=True, eq=False)
class WindowJudge:
    """Judges the windows of every series of one artifact; it keeps nothing between two calls."""

    settings: WindowSettings
    identity: DetectorIdentity
    detector: WindowDetector
    schema: Schema
    reference: Reference
    summary: ReferenceSummary | None
    trial: WindowTrial
    evidence: Evidence

    @classmethod
    def of(cls, artifact: Artifact, identity: DetectorIdentity, execution: Execution) -> Self:
        """Restore from an artifact. Raises `ConfigurationError` where it is not whole, or is to compare what its kind
        cannot compare."""
        detector, windowed = restore_window_detector(artifact, execution)
        try:
            return cls.around(detector, windowed, artifact.schema, identity)
        except (KeyError, ValueError) as exc:
            raise ConfigurationError(
                f"artifact {artifact.name!r} holds no summary of its reference ({exc}): {REFIT}"
            ) from exc

    @classmethod
    def around(cls, detector: WindowDetector, windowed: Windowed, schema: Schema, identity: DetectorIdentity) -> Self:
        """Of a detector that is at hand. Raises `ConfigurationError` where it is to compare and cannot, `KeyError` or
        `ValueError` where the summary is not of this schema."""
        return cls(
            windowed.settings,
            identity,
            detector,
            schema,
            windowed.reference,
            ReferenceSummary.restore(windowed.summary, schema) if windowed.summary else None,
            _trial(detector, windowed),
            Evidence(schema, windowed.transform),
        )

    def begin(self) -> SeriesState:
        """What a series starts from."""
        return SeriesState(memory=self.trial.memory())

    def judge(self, window: Window, state: SeriesState) -> Judged:
        """The verdict on a window, in the state that the window before it left. Pure; may take long."""
        _, level = self._level(window, state)
        return self._concluded(window, state, self.trial.run(window, state.memory, level))

    def give_up(self, window: Window, state: SeriesState, error: Exception) -> Judged:
        """What is said of a window on which `judge` raises, whatever is tried: it is unjudged, and says why, in the
        same words each time, whatever the error's own text holds. Pure."""
        reason = f"the detector failed with {type(error).__name__}: its log has the details"
        kept = np.ones(len(window.rows), dtype=bool)
        return self._concluded(window, state, Trial(None, reason, state.memory, kept))

    def end(self, state: SeriesState, time_ns: int | None, reason: str) -> tuple[CloudEvent, ...]:
        """What is told where a series ends at a time, of the watermark: an alert that is open is resolved. Pure."""
        if state.alert is None:
            return ()
        time = state.alert.alert.updated if time_ns is None else format_time(time_ns)
        alert = Alerting(self.identity, self.settings.resolve_after).end(state.alert, time, reason)
        return (alert.event(self.identity),)

    def _level(self, window: Window, state: SeriesState) -> tuple[Accrual, float]:
        levels = Levels.of(self.settings)
        accrual = levels.accrued(state.accrual, window.start_ns, window.budget_ns)
        return accrual, levels.level(accrual)

    def _concluded(self, window: Window, state: SeriesState, trial: Trial) -> Judged:
        accrual, level = self._level(window, state)
        decision = _decided(trial, level)
        spending = Spending(level, decision.spent, state.total + decision.spent)
        findings, records = self._findings(window, trial, level, decision.is_drift)
        verdict = self._verdict(window, trial, decision, spending, findings)
        standing, alert = self._alerting(window, state, level).fold(state.alert, verdict, records)
        after = SeriesState(
            accrual if decision.error else spent(accrual),
            spending.total,
            standing,
            self.trial.memory() if decision.is_drift else trial.memory,
        )
        alerts = () if alert is None else (alert.event(self.identity),)
        return Judged(verdict.event(self.identity), alerts, after, verdict.outcome, window.members)

    def _alerting(self, window: Window, state: SeriesState, level: float) -> Alerting:
        is_standing = state.alert is not None and level > 0
        settling_rows = self.trial.settling_rows(level, len(window.rows)) if is_standing else 0
        return Alerting(self.identity, self.settings.resolve_after, settling_rows)

    def _verdict(
        self, window: Window, trial: Trial, decision: "_Decision", spending: Spending, findings: Findings
    ) -> WindowVerdict:
        test = trial.test
        return WindowVerdict(
            key=window.key.service,
            first=window.first,
            end=window.end,
            time=window.time,
            is_drift=decision.is_drift,
            p_value=None if test is None else test.p_value,
            threshold=spending.level,
            distance=None if test is None else test.statistic,
            feature_distance=[] if test is None else test.feature_distance.tolist(),
            feature_p_value=[] if test is None else test.feature_p_value.tolist(),
            members=window.members,
            revision=window.key.revision,
            error=decision.error,
            stretch=Stretch(format_time(window.start_ns), format_time(window.end_ns)),
            spending=spending,
            reference=self.reference.digest,
            findings=findings,
        )

    def _findings(self, window: Window, trial: Trial, level: float, is_drift: bool) -> tuple[Findings, Records]:
        """What there is to tell besides, and the rows that show it where the window drifted."""
        tests = () if trial.test is None else _parts(trial.test, level)
        features, records = self._moved(window, trial, level) if is_drift else ((), ())
        return Findings(features, trial.missing, tests, trial.comparison), records

    def _moved(self, window: Window, trial: Trial, level: float) -> tuple[tuple[MovedFeature, ...], Records]:
        """The features that moved most, and the rows that stand out most in the first of them: any, without a summary
        of what they were held against."""
        assert trial.test is not None, "a window that drifted was tested"
        rows, places = window.rows[trial.kept], np.flatnonzero(trial.kept)
        against = None if trial.against is None else ReferenceSummary.of(window.rows[trial.against], self.schema)
        summary = against or self.summary
        if summary is None:
            return (), records_of(window.members, places[:MOST_RECORDS].tolist())
        features = self.evidence.moved(rows, summary, trial.test, level)
        farthest = self.evidence.farthest(rows, summary, features[0])
        return tuple(features), records_of(window.members, places[farthest].tolist())


@dataclass(frozen=True, slots=True)
class _Decision:
    """What a trial at a level comes to; where there is an `error`, nothing is decided and nothing spent."""

    is_drift: bool
    spent: float
    error: str | None


def _decided(trial: Trial, level: float) -> _Decision:
    error = trial.error or _unresolved(trial, level)
    if error is not None or trial.test is None:
        return _Decision(False, 0.0, error)
    return _Decision(trial.test.p_value <= level, level, None)


def _unresolved(trial: Trial, level: float) -> str | None:
    """Why the level cannot be spent on this test, if it cannot: it is kept until it can."""
    if level <= 0.0:
        return "no event time has passed since the window before: there is no level to spend yet"
    if trial.test is not None and trial.test.least_p_value > level:
        least = trial.test.least_p_value
        return f"the level {level:.3g} is below the least p-value that the test can tell, {least:.3g}: it is kept"
    return None


def _parts(test: WindowTest, level: float) -> tuple[PartVerdict, ...]:
    """Which of several tests say drift by themselves (Holm)."""
    if not test.parts:
        return ()
    p_values = adjusted(np.array([part.p_value for part in test.parts.values()]))
    return tuple(
        PartVerdict(name, p_value <= level, p_value, part.statistic)
        for (name, part), p_value in zip(test.parts.items(), p_values.tolist(), strict=True)
    )


def _trial(detector: WindowDetector, windowed: Windowed) -> WindowTrial:
    settings = windowed.settings
    if settings.compared is Compared.NOTHING:
        choice = RowChoice(settings.missing, detector.takes_missing, detector.least_rows)
        if isinstance(detector, SequentialDetector):
            settings.check_follows(detector.kind)
            return SequentialTrial(detector, windowed.transform, choice)
        return ReferenceTrial(detector, windowed.transform, choice)
    if not isinstance(detector, ComparesSamples):
        raise ConfigurationError(
            f"{detector.kind} cannot compare {settings.compared.value} with each other: fit a kind that can, such as ks"
        )
    choice = RowChoice(settings.missing, detector.takes_missing, 1)
    return ComparisonTrial(detector, windowed.transform, choice, settings.compared, detector.least_rows)
