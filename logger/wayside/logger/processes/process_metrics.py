"""The metrics of several processes on one page: each process's own, told apart by the label `process`.

Invariant: nothing is added up, so that every sum is Prometheus's; a process that does not answer is left out. Pure.
"""

from collections.abc import Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

LABEL = "process"


class _Families(Collector):
    """Families that are known already."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = list(families)

    def collect(self) -> Iterator[Metric]:
        yield from self._families


def registry_of(pages: Mapping[int, str], own: Iterable[Metric]) -> CollectorRegistry:
    """What to expose: the pages of processes in Prometheus' text format by their places, and families of one's own."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Families([*own, *merged(pages)]))
    return registry


def merged(pages: Mapping[int, str]) -> list[Metric]:
    """One family for each name, with the samples of every page. Raises ValueError for what is no such page."""
    families: dict[str, Metric] = {}
    for place, page in pages.items():
        for read in text_string_to_metric_families(page):
            family = families.setdefault(read.name, Metric(read.name, read.documentation, read.type))
            for sample in read.samples:
                labels = {**sample.labels, LABEL: str(place)}
                family.add_sample(sample.name, labels, sample.value, sample.timestamp)
    return list(families.values())
