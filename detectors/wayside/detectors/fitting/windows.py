"""Fits a window detector on a reference, and says what the fit can promise.

Invariant: the reference is all ordinary rows that are whole, in the order of their times where they have any; how it is
split is the kind's own business. The level that a kind is fitted for is the one that windows will come to, as far as
the traffic is known.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from wayside.detectors.artifacts.artifact import Artifact, Reference, Windowed
from wayside.detectors.drift.judging.summary import ReferenceSummary
from wayside.detectors.drift.settings import Compared, CountCut, MissingValues, SpanCut, WindowSettings
from wayside.detectors.drift.transforms.columns import ColumnsTransform
from wayside.detectors.drift.transforms.pca import PcaTransform
from wayside.detectors.drift.transforms.scaled import ScaledTransform
from wayside.detectors.drift.transforms.transform import Transform
from wayside.detectors.fitting.window_plan import ENCODER, UNKNOWN_LEVEL, TransformChoice, WindowPlan
from wayside.detectors.fitting.window_transform import code_reference, fit_transform
from wayside.detectors.kinds.protocol import (
    Arrays,
    ComparesSamples,
    Described,
    FitContext,
    Matrix,
    Sample,
    SequentialDetector,
    TellsRunLength,
    WindowDetector,
    WindowFitContext,
)
from wayside.detectors.tabular.preprocessing import Scaling
from wayside.detectors.tabular.schema import Schema
from wayside.detectors.tabular.table import Table
from wayside.eventing.clock import format_time
from wayside.eventing.errors import ConfigurationError

_SCALING = (ScaledTransform.name, PcaTransform.name)
_FILLING = (*_SCALING, ENCODER)  # transforms that make finite features of a row that misses a value

Wrapped = Callable[[Sample, WindowFitContext], WindowDetector]
"""Gives a detector that was fitted elsewhere, checked against a reference and a level."""


@dataclass(frozen=True, slots=True)
class WindowOutcome:
    """What is known of a fitted window detector besides the artifact: rows a second of its traffic, the level that a
    window of that comes to, None where the traffic is not known, and rows that were left out for missing a value."""

    rows_per_s: float | None
    level: float | None
    dropped_rows: int = 0
    described: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class _Prepared:
    """A reference ready to be fitted on: `rows` are the coded ones that are whole, `sample` what the transform makes of
    them."""

    schema: Schema
    transform: Transform
    rows: Matrix
    sample: Sample
    settings: WindowSettings
    dropped: int


def fit_windows(
    kind: type[WindowDetector],
    table: Table,
    plan: WindowPlan,
    options: Any,
    context: FitContext,
    *,
    name: str,
    scaling: Scaling | None = None,
    wrapped: Wrapped | None = None,
) -> tuple[Artifact, WindowOutcome]:
    """Fit on a table of ordinary rows, or take what was `wrapped`.

    Raises `ConfigurationError` where they are too few or of what the kind does not
    take, and where the kind can never resolve the level."""
    _check_plan(kind, plan, scaling)
    table = in_order(table)
    with threadpool_limits(1, "blas"):  # as a service tests: with more threads, a product's last digits are others
        prepared = _prepare(kind, table, plan, scaling)
        rate = rows_per_s(table, plan)
        level = level_of(prepared.settings, rate)
        known = _context(prepared, level, context)
        detector = kind.fit(prepared.sample, options, known) if wrapped is None else wrapped(prepared.sample, known)
    windowed = Windowed(prepared.settings, prepared.transform, _reference(table), _summary(prepared))
    artifact = Artifact(kind.kind, name, _share(level), prepared.schema, detector.state(), windowed=windowed)
    told = _told(detector, level, rows_of_window(prepared.settings, rate))
    return artifact, WindowOutcome(rate, level, prepared.dropped, told)


def _check_plan(kind: type[WindowDetector], plan: WindowPlan, scaling: Scaling | None) -> None:
    """Before the time that a fit takes. Raises `ConfigurationError`."""
    transform, compared = plan.transform.name or kind.transform, plan.settings.compared
    if compared is not Compared.NOTHING and not issubclass(kind, ComparesSamples):
        raise ConfigurationError(f"{kind.kind} cannot compare {compared.value}: choose another kind")
    takes = transform in _FILLING or (transform == ColumnsTransform.name and kind.takes_missing)
    if plan.missing is MissingValues.KEEP and not takes:
        raise ConfigurationError(
            f"{kind.kind} after --transform {transform} takes no missing values: say --missing drop or refuse, or"
            " --transform scaled, which fills them in"
        )
    if scaling is not None and transform not in _SCALING:
        raise ConfigurationError(f"--scaling is for --transform {' or '.join(_SCALING)}, and this one is {transform}")


def in_order(table: Table) -> Table:
    """The rows in the order of their times, those of one time as they came; as they are where none are known."""
    if table.time_s is None or (np.diff(table.time_s) >= 0).all():
        return table
    return table.rows(np.argsort(table.time_s, kind="stable"))


def rows_per_s(table: Table, plan: WindowPlan) -> float | None:
    """What is expected, else what the reference's times say; None where they say nothing."""
    if plan.rows_per_s is not None:
        return plan.rows_per_s
    if table.time_s is None or not len(table):
        return None
    span_s = float(table.time_s[-1] - table.time_s[0])
    return (len(table) - 1) / span_s if span_s > 0 else None


def level_of(settings: WindowSettings, rate: float | None) -> float | None:
    """What one window may spend, where traffic comes at `rate` rows a second; None where it takes the rate to say."""
    budget = settings.budget
    if budget.per_s is None:
        return budget.false_alarms
    step_s = window_step_s(settings, rate)
    return None if step_s is None else min(settings.level_limit, budget.false_alarms * step_s / budget.per_s)


def window_step_s(settings: WindowSettings, rate: float | None) -> float | None:
    """The event time from one window's end to the next one's; None where it takes the rate to say."""
    if isinstance(settings.cut, SpanCut):
        return settings.cut.step_s
    return None if rate is None else settings.cut.step / rate


def rows_of_window(settings: WindowSettings, rate: float | None) -> float | None:
    """How many rows a window has, or is expected to have; None where it takes the rate to say."""
    if isinstance(settings.cut, CountCut):
        return settings.cut.rows
    return None if rate is None else settings.cut.span_s * rate


def _prepare(kind: type[WindowDetector], table: Table, plan: WindowPlan, scaling: Scaling | None) -> _Prepared:
    choice = replace(plan.transform, name=plan.transform.name or kind.transform)
    missing = plan.missing or _missing_of(kind, choice)
    schema, coded = code_reference(table, choice, missing)
    _check_missing(schema, coded, missing)
    if choice.name == ColumnsTransform.name and schema.categorical and not kind.takes_categories:
        raise ConfigurationError(
            f"{kind.kind} takes numbers, and {schema.describe(schema.categorical[0])} holds categories: leave it out,"
            " or make indicators of it with --transform scaled"
        )
    transform = fit_transform(choice, schema, coded, scaling)
    sample = Sample(transform.apply(coded), np.full(len(table), np.nan) if table.time_s is None else table.time_s)
    is_kept = _kept(kind, transform, sample, missing)
    settings = replace(plan.settings, missing=missing)
    _check_rows(settings, int(is_kept.sum()), kind.kind)
    if issubclass(kind, SequentialDetector):
        settings.check_follows(kind.kind)
    return _Prepared(schema, transform, coded[is_kept], sample.take(is_kept), settings, len(table) - int(is_kept.sum()))


def _missing_of(kind: type[WindowDetector], choice: TransformChoice) -> MissingValues:
    """Values stay where the kind, or the transform, knows what to do with one that is missing."""
    stays = kind.takes_missing if choice.name == ColumnsTransform.name else choice.name == "scaled"
    return MissingValues.KEEP if stays else MissingValues.DROP


def _check_missing(schema: Schema, coded: Matrix, missing: MissingValues) -> None:
    absent = np.isnan(coded)
    if missing is MissingValues.REFUSE and absent.any():
        row, at = np.argwhere(absent)[0].tolist()
        raise ConfigurationError(
            f"row {row} of the reference, {schema.describe(at)}: the value is missing: leave such rows out, or say"
            " --missing drop"
        )


def _kept(
    kind: type[WindowDetector], transform: Transform, sample: Sample, missing: MissingValues
) -> NDArray[np.bool_]:
    """Which rows of a reference are whole: all, where the kind takes what is missing and that is to be kept."""
    whole = np.asarray(np.isfinite(sample.rows).all(axis=1))
    takes = kind.takes_missing and transform.name == ColumnsTransform.name
    if missing is MissingValues.KEEP and takes:
        return np.ones_like(whole)
    if missing is MissingValues.KEEP and not whole.all():
        raise ConfigurationError(
            f"{int((~whole).sum())} rows of the reference miss a value, which {kind.kind} after {transform.name} does"
            " not take: say --missing drop, or fill them in with --transform scaled"
        )
    return whole


def _check_rows(settings: WindowSettings, rows: int, kind: str) -> None:
    least = settings.cut.rows if isinstance(settings.cut, CountCut) else 2
    if rows < least:
        raise ConfigurationError(
            f"{rows} rows are too few for windows of {settings.cut}: the reference of {kind} needs at least a window,"
            " better twenty; give more rows or a smaller --window"
        )


def _context(prepared: _Prepared, level: float | None, context: FitContext) -> WindowFitContext:
    cut = prepared.settings.cut
    return WindowFitContext(
        seed=context.seed,
        progress=context.progress,
        measured=context.measured,
        window_rows=cut.rows if isinstance(cut, CountCut) else None,
        categories=prepared.transform.categories,
        level=_share(level),
        names=prepared.transform.names,
    )


def _share(level: float | None) -> float:
    return UNKNOWN_LEVEL if level is None else level


def _reference(table: Table) -> Reference:
    times = None if table.time_s is None else [format_time(round(each * 1e6) * 1000) for each in table.time_s[[0, -1]]]
    return Reference(len(table), table.digest(), *(times or ()))


def _summary(prepared: _Prepared) -> Arrays:
    return ReferenceSummary.of(prepared.rows, prepared.schema).arrays()


def _told(detector: WindowDetector, level: float | None, rows: float | None) -> tuple[str, ...]:
    """What the detector has to say of its fit, in lines for people."""
    if isinstance(detector, TellsRunLength) and level is not None and rows is not None:
        return (detector.run_length(level, max(1, round(rows))),)
    told = detector.described() if isinstance(detector, Described) else ()
    return (told,) if isinstance(told, str) else told
