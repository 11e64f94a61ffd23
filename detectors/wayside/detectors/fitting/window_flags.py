"""The flags of `wayside fit` that only window detectors have, and the plan that they say.

Invariant: a row detector that is given one of them is refused, never fitted as if nothing had been said.
"""

import argparse
from dataclasses import replace

from wayside.detectors.artifacts.locations import open_artifact
from wayside.detectors.data.flags import parse_rate
from wayside.detectors.drift.settings import Budget, Compared, MissingValues, WindowSettings
from wayside.detectors.drift.transforms.pca import DEFAULT_SHARE
from wayside.detectors.drift.transforms.registry import TRANSFORMS
from wayside.detectors.drift.transforms.uncertainty import Uncertainty
from wayside.detectors.fitting.window_plan import (
    DEFAULT_ROWS,
    ENCODER,
    TransformChoice,
    WindowPlan,
    parse_cut,
    parse_seconds,
)
from wayside.eventing.errors import ConfigurationError

DEFAULT_BUDGET = "1 per week"
_FLAGS = (
    *("window", "step", "false_alarms", "lateness", "resolve_after", "compare", "expect_rows"),
    *("transform", "components", "encoder", "measure"),
)
_ROW_FLAGS = ("holdout", "test_share")


def add_window_flags(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("for kinds that judge windows").add_argument
    add("--window", metavar="ROWS|TIME", help=f"200, or a span of event time: 15m, 1h, 1d (default: {DEFAULT_ROWS})")
    add("--step", metavar="ROWS|TIME", help="from one window's begin to the next one's (default: the window)")
    add("--false-alarms", metavar="BUDGET",
        help=f"'1 per week' of event time, '0.01 per window' (default: {DEFAULT_BUDGET})")  # fmt: skip
    add("--lateness", metavar="TIME", help="how far the watermark stays behind (default: 2s)")
    add("--resolve-after", type=int, metavar="N", help="quiet windows that resolve an alert (default: 2)")
    add("--compare", choices=[Compared.REVISIONS.value, Compared.ENDPOINTS.value],
        help="hold these of one service against each other, not against the reference (canary and stable)")  # fmt: skip
    add("--expect-rows", metavar="RATE", help="traffic, as '10000 per hour' (default: as the reference's times say)")
    add("--transform", choices=list(TRANSFORMS), help="what rows are put through before (default: the kind's own)")
    add("--components", type=float, metavar="N|SHARE",
        help=f"of --transform pca: how many, or their share of the variance (default: {DEFAULT_SHARE})")  # fmt: skip
    add("--encoder", metavar="ARTIFACT", help="of --transform encoder: a fitted autoencoder or vae")
    add("--measure", choices=[each.value for each in Uncertainty],
        help="of --transform uncertainty (default: entropy)")  # fmt: skip


def check_no_row_flags(arguments: argparse.Namespace) -> None:
    """Raises `ConfigurationError` where a window detector, which holds nothing out here, is given one."""
    given = next((name for name in _ROW_FLAGS if getattr(arguments, name) is not None), None)
    if given is not None:
        raise ConfigurationError(
            f"--{given.replace('_', '-')} is for kinds that judge rows, and {arguments.kind} judges windows"
        )


def check_no_window_flags(arguments: argparse.Namespace) -> None:
    """Raises `ConfigurationError` where a row detector is given one."""
    given = next((name for name in _FLAGS if getattr(arguments, name) is not None), None)
    if given is not None:
        raise ConfigurationError(
            f"--{given.replace('_', '-')} is for kinds that judge windows, and {arguments.kind} judges rows"
        )


def plan_of(arguments: argparse.Namespace) -> WindowPlan:
    """Raises `ConfigurationError`."""
    rate = None if arguments.expect_rows is None else parse_rate(arguments.expect_rows)
    return WindowPlan(_settings(arguments), _transform(arguments), _missing(arguments), rate)


def _settings(arguments: argparse.Namespace) -> WindowSettings:
    settings = WindowSettings(parse_cut(arguments.window or str(DEFAULT_ROWS), arguments.step), _budget(arguments))
    if arguments.lateness is not None:
        settings = replace(settings, lateness_s=parse_seconds("--lateness", arguments.lateness))
    if arguments.resolve_after is not None:
        settings = replace(settings, resolve_after=arguments.resolve_after)
    return replace(settings, compared=Compared(arguments.compare or Compared.NOTHING))


def _budget(arguments: argparse.Namespace) -> Budget:
    if arguments.alpha is None:
        return Budget.parse(arguments.false_alarms or DEFAULT_BUDGET)
    if arguments.false_alarms is not None:
        raise ConfigurationError("--false-alarms and --alpha both say what is spent on false alarms: give one of them")
    if not 0 < arguments.alpha < 1:
        raise ConfigurationError(f"alpha is {arguments.alpha:g}: give a number between 0 and 1")
    return Budget(arguments.alpha)


def _missing(arguments: argparse.Namespace) -> MissingValues | None:
    if arguments.missing == "impute":
        raise ConfigurationError("--missing impute is for rows: give keep, drop or refuse, or --transform scaled")
    return None if arguments.missing is None else MissingValues(arguments.missing)


def _transform(arguments: argparse.Namespace) -> TransformChoice:
    encoder = None if arguments.encoder is None else open_artifact(arguments.encoder)
    name = arguments.transform or (ENCODER if encoder is not None else None)
    for flag, of in (("components", "pca"), ("measure", "uncertainty")):
        if getattr(arguments, flag) is not None and name != of:
            raise ConfigurationError(f"--{flag} belongs to --transform {of}: give both")
    return TransformChoice(
        name,
        DEFAULT_SHARE if arguments.components is None else arguments.components,
        encoder,
        Uncertainty(arguments.measure or Uncertainty.ENTROPY),
    )
