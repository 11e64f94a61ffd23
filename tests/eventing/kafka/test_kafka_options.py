"""The flags of a process that pulls, and the filter of its Triggers."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from wayside.eventing.command import Parser, parse_arguments
from wayside.eventing.errors import ConfigurationError
from wayside.eventing.event import CloudEvent
from wayside.eventing.kafka.address import KafkaAddress
from wayside.eventing.kafka.options import (
    Pull,
    add_source_arguments,
    open_source,
    parse_wait_s,
    pull_of,
    select,
)
from wayside.eventing.kafka.subscription import Subscription
from wayside.eventing.sink import MemorySink
from wayside.eventing.vocabulary import DRIFT, OUTLIER, REQUEST

MANIFESTS = Path(__file__).parents[3] / "local" / "wayside" / "local" / "manifests"


def parse(argv: Sequence[str], environ: dict[str, str] | None = None) -> argparse.Namespace:
    parser = Parser(prog="test", allow_abbrev=False)
    add_source_arguments(parser, "wayside-test")
    return parse_arguments(parser, argv, environ or {}, "WAYSIDE_TEST")


def test_flags_subscribe() -> None:
    arguments = parse(["--source", "kafka://k/a,b", "--wait", "2m", "--trigger", "x.yaml,y.yaml", "--trigger", "z"])
    subscription = Subscription(KafkaAddress("k:9092", ("a", "b")), "wayside-test", 120.0)
    assert pull_of(arguments) == Pull(subscription, (Path("x.yaml"), Path("y.yaml"), Path("z")), None)


def test_flags_come_from_the_environment_too() -> None:
    environ = {"WAYSIDE_TEST_SOURCE": "kafka://k/a", "WAYSIDE_TEST_GROUP": "g", "WAYSIDE_TEST_KAFKA_CONFIG": "f"}
    arguments = parse([], environ)
    assert pull_of(arguments) == Pull(Subscription(KafkaAddress("k:9092", ("a",)), "g", 60.0), (), Path("f"))


def test_without_a_source_nothing_is_subscribed_to() -> None:
    assert pull_of(parse([])) is None


def test_a_source_is_opened_by_its_flags(tmp_path: Path) -> None:
    (tmp_path / "config").write_text("client.id=x\n")
    flags = ["--source", "kafka://k/a", "--trigger", str(MANIFESTS), "--kafka-config", str(tmp_path / "config")]
    pull = pull_of(parse(flags))
    assert pull == Pull(Subscription(KafkaAddress("k:9092", ("a",)), "wayside-test"), (MANIFESTS,), tmp_path / "config")
    source = open_source(pull, "outlier", MemorySink(), CollectorRegistry())
    assert source.view()["group"] == "wayside-test"
    with pytest.raises(ConfigurationError, match="no Trigger"):
        open_source(pull, "nobody", MemorySink(), CollectorRegistry())


@pytest.mark.parametrize(
    "argv", [["--source", "http://k/a"], ["--source", "kafka://k/a", "--group", "a b"], ["--wait", "soon"]]
)
def test_flags_that_do_not_fit(argv: list[str]) -> None:
    with pytest.raises(ConfigurationError):
        pull_of(parse(argv))


def test_plain_records_are_declared_by_a_flag() -> None:
    pull = pull_of(parse(["--source", "kafka://k/a,b", "--plain", "a=knative,b=request:v2:ns/digits"]))
    assert pull is not None
    assert set(pull.subscription.plain.by_topic) == {"a", "b"}


@pytest.mark.parametrize(("text", "seconds"), [("60s", 60.0), ("1.5m", 90.0), ("1h", 3600.0), ("5", 5.0)])
def test_times(text: str, seconds: float) -> None:
    assert parse_wait_s(text) == seconds


def event(kind: str) -> CloudEvent:
    return CloudEvent("1", "s", kind)


def test_without_triggers_everything_passes() -> None:
    assert select([], "outlier").passes(event("anything"))


@pytest.mark.parametrize(
    ("name", "passing"),
    [("outlier", {REQUEST}), ("prometheus", {OUTLIER, DRIFT}), ("records", {REQUEST, OUTLIER, DRIFT})],
)
def test_the_embedded_brokers_triggers_filter(name: str, passing: set[str]) -> None:
    passes = select(sorted(MANIFESTS.glob("*.yaml")), name).passes
    assert {kind for kind in (REQUEST, OUTLIER, DRIFT) if passes(event(kind))} == passing


def test_triggers_for_nobody_of_that_name_are_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"no Trigger in .* names 'other'"):
        select(sorted(MANIFESTS.glob("*.yaml")), "other")


@pytest.mark.parametrize(
    ("annotations", "expected"),
    [
        ({}, (False, None)),
        ({"first": "kafka.eventing.knative.dev/delivery.order: ordered"}, (True, None)),
        ({"first": 'eventing.wayside.dev/in-flight: "8"', "second": 'eventing.wayside.dev/in-flight: "3"'}, (False, 3)),
        ({"other": 'eventing.wayside.dev/in-flight: "1"'}, (False, None)),
    ],
)
def test_what_triggers_ask_for_beside_their_filter(
    tmp_path: Path, annotations: dict[str, str], expected: tuple[bool, int | None]
) -> None:
    file = tmp_path / "triggers.yaml"
    file.write_text("apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {name: default}\n")
    with file.open("a") as triggers:
        for name, subscriber in {"first": "outlier", "second": "outlier", "other": "drift"}.items():
            triggers.write(
                f"---\napiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata:\n  name: {name}\n"
                f"  annotations: {{{annotations.get(name, '')}}}\nspec:\n  broker: default\n"
                f"  subscriber: {{ref: {{apiVersion: v1, kind: Service, name: {subscriber}}}}}\n"
            )
    selected = select([file], "outlier")
    assert (selected.ordered, selected.in_flight) == expected
