"""A dashboard's panels as values, and how Grafana is told of them (grafana-foundation-sdk, a development dependency).

Invariant: a panel without a description, a unit or a query cannot be made; every query reads the chosen data source.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from string import ascii_uppercase

from grafana_foundation_sdk.builders import common, prometheus, stat, timeseries
from grafana_foundation_sdk.builders.dashboard import ThresholdsConfig
from grafana_foundation_sdk.models import common as common_model
from grafana_foundation_sdk.models.dashboard import (
    DataSourceRef,
    Threshold,
    ThresholdsMode,
    ValueMap,
    ValueMapping,
    ValueMappingResult,
)

SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
_HEIGHT = 8
_NO_DATA = "no data"


class Unit(StrEnum):
    """Units by Grafana's names."""

    REQUESTS = "reqps"
    EVENTS = "eps"
    ROWS = "rowsps"
    COUNT = "short"
    SECONDS = "s"
    SHARE = "percentunit"


@dataclass(frozen=True, slots=True)
class Query:
    """PromQL, and the legend of its series."""

    expr: str
    legend: str


@dataclass(frozen=True, slots=True)
class Limits:
    """From which value on a panel turns yellow, and red; None for never."""

    yellow: float | None = None
    red: float | None = None


@dataclass(frozen=True, slots=True)
class Panel:
    """Lines over time, or with `latest` one tile a series. `width` is in the grid's 24 columns.

    `description` says what it means and what to do. `states` are words for values of a tile.
    """

    title: str
    description: str
    unit: Unit
    queries: Sequence[Query]
    limits: Limits = field(default_factory=Limits)
    width: int = 8
    latest: bool = False
    states: Sequence[str] = ()

    def __post_init__(self) -> None:
        if not self.description or not self.queries:
            raise ValueError(f"panel {self.title!r} lacks a description or a query")


@dataclass(frozen=True, slots=True)
class Row:
    """Panels under one heading, which can be folded away."""

    title: str
    panels: Sequence[Panel]


def build(panel: Panel) -> timeseries.Panel | stat.Panel:
    """The panel as Grafana's builder; its place on the grid is left to the dashboard."""
    made = _tiles(panel) if panel.latest else _lines(panel)
    for ref_id, query in zip(ascii_uppercase, panel.queries, strict=False):
        made.with_target(_target(query, panel.latest).ref_id(ref_id))
    return (
        made.title(panel.title)
        .description(panel.description)
        .datasource(SOURCE)
        .unit(panel.unit.value)
        .thresholds(_thresholds(panel.limits))
        .no_value(_NO_DATA)
        .span(panel.width)
        .height(_HEIGHT)
    )


def _target(query: Query, latest: bool) -> prometheus.Dataquery:
    target = prometheus.Dataquery().expr(query.expr).legend_format(query.legend)
    return target.instant() if latest else target.range()


def _thresholds(limits: Limits) -> ThresholdsConfig:
    steps = [Threshold(value=None, color="green")]
    steps += [Threshold(value=limits.yellow, color="yellow")] if limits.yellow is not None else []
    steps += [Threshold(value=limits.red, color="red")] if limits.red is not None else []
    return ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps)


def _lines(panel: Panel) -> timeseries.Panel:
    modes = common_model.GraphTresholdsStyleMode  # spelt so there
    mode = modes.OFF if panel.limits == Limits() else modes.DASHED
    return (
        timeseries.Panel()
        .fill_opacity(8)
        .min(0)
        .thresholds_style(common.GraphThresholdsStyleConfig().mode(mode))
        .legend(common.VizLegendOptions().show_legend(True).placement(common_model.LegendPlacement.BOTTOM))
        .tooltip(common.VizTooltipOptions().mode(common_model.TooltipDisplayMode.MULTI))
    )


def _tiles(panel: Panel) -> stat.Panel:
    options = {str(value): ValueMappingResult(text=text, index=value) for value, text in enumerate(panel.states)}
    mappings: list[ValueMapping] = [ValueMap(options=options)] if options else []
    reduced = common.ReduceDataOptions().calcs(["lastNotNull"])
    return stat.Panel().mappings(mappings).reduce_options(reduced).graph_mode(common_model.BigValueGraphMode.NONE)
