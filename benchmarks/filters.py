"""Trigger filters: matches a second of each dialect on one core, beside the targets."""

import argparse
import sys
import time
import timeit
from collections.abc import Iterator
from dataclasses import dataclass

from wayside.eventing.event import CloudEvent
from wayside.eventing.filters.filter import Filter
from wayside.eventing.triggers.fields import Fields, Origin
from wayside.eventing.triggers.filter_fields import read_filter
from wayside.eventing.triggers.yaml_nodes import read_nodes
from wayside.eventing.vocabulary import REQUEST, ServiceKey


@dataclass(frozen=True, slots=True)
class Case:
    """A Trigger's `spec` in YAML, the dialect that it is about, and the matches a second that it must reach."""

    dialect: str
    spec: str
    target_per_s: int | None = None


EXACT = f"exact: {{type: {REQUEST}}}"
CASES = (
    Case("none", "{}"),
    Case("attributes", f"filter: {{attributes: {{type: {REQUEST}}}}}"),
    Case("exact", f"filters: [{{{EXACT}}}]", 500_000),
    Case("exact, an extension", "filters: [{exact: {inferenceservicename: a}}]", 500_000),
    Case("exact, two attributes", f"filters: [{{exact: {{type: {REQUEST}, inferenceservicename: a}}}}]"),
    Case("prefix", f"filters: [{{prefix: {{type: {REQUEST[:20]}}}}}]", 500_000),
    Case("suffix", "filters: [{suffix: {type: .request}}]"),
    Case("all of two", f"filters: [{{all: [{{{EXACT}}}, {{prefix: {{source: http}}}}]}}]"),
    Case("any of two", f"filters: [{{any: [{{exact: {{type: other}}}}, {{{EXACT}}}]}}]"),
    Case("not", "filters: [{not: {suffix: {type: .response}}}]"),
    Case("array of two", f"filters: [{{{EXACT}}}, {{prefix: {{source: http}}}}]"),
    Case("cesql", "filters: [{cesql: \"type LIKE '%.request' AND inferenceservicename IN ('a','b')\"}]", 300_000),
    Case("cesql, an equality", f"filters: [{{cesql: \"type = '{REQUEST}'\"}}]"),
)


def event(kind: str, service: str) -> CloudEvent:
    """An event of KServe's logger."""
    return CloudEvent(
        id="5011cc37-0749-4899-8422-f7ac39898cee",
        source="http://localhost:9081/",
        type=kind,
        time="2026-11-21T10:00:00.123456789Z",
        datacontenttype="application/json",
        extensions=ServiceKey("default", service, "predictor", "").extensions(),
    )


EVENTS = event(REQUEST, "a"), event("io.example.response", "other")


def filter_of(case: Case) -> Filter:
    """The filter of the case, read as a manifest is."""
    (node,) = read_nodes(case.spec, case.dialect)
    return read_filter(Fields(node, Origin(case.dialect, "document 1"), "spec"))


def rate_per_s(made: Filter, asked: CloudEvent, number: int) -> float:
    """Matches a second of processor time: the best of five rounds, each call through `Filter.passes`."""
    timer = timeit.Timer("made.passes(asked)", globals={"made": made, "asked": asked}, timer=time.process_time)
    return number / min(timer.repeat(repeat=5, number=number))


def rows(number: int) -> Iterator[tuple[str, ...]]:
    """Dialect, matches a second of an event that passes and of one that does not, target, verdict on the slower."""
    for case in CASES:
        made = filter_of(case)
        rates = [rate_per_s(made, asked, number) for asked in EVENTS]
        target = f"{case.target_per_s:,}" if case.target_per_s else ""
        verdict = ("met" if min(rates) >= case.target_per_s else "short") if case.target_per_s else ""
        yield (case.dialect, *(f"{rate:,.0f}" for rate in rates), target, verdict)


def main() -> int:
    """Print the table; returns 1 where a target is not met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--number", type=int, default=200_000, help="matches a round (default: 200000)")
    columns = ("dialect", "passing/s", "failing/s", "target", "")
    short = False
    for row in (columns, *rows(parser.parse_args().number)):
        print(f"{row[0]:24}{row[1]:>14}{row[2]:>14}{row[3]:>12}  {row[4]}", flush=True)
        short = short or row[4] == "short"
    return int(short)


if __name__ == "__main__":
    sys.exit(main())
