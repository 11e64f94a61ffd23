"""A composition is checked whole before anything starts, and says what is wrong and where."""

from pathlib import Path

import pytest

from wayside.detectors.serving import cli as detectors_cli
from wayside.eventing.broker import cli as broker_cli
from wayside.eventing.errors import ConfigurationError
from wayside.local.composition import Composition, compose, load_composition
from wayside.local.page import cli as page_cli
from wayside.local.processes import default_manifests, processes
from wayside.local.supervisor import SupervisorLimits
from wayside.logger import cli as logger_cli
from wayside.sinks import cli as sinks_cli

DETECTOR = {"name": "outlier", "artifact": "artifacts/outlier", "port": 8620, "admin_port": 8621}


def write(folder: Path, text: str) -> Path:
    path = folder / "wayside.yaml"
    path.write_text(text)
    return path


def test_the_example_is_a_composition() -> None:
    example = Path(__file__).parents[2] / "examples" / "wayside.yaml"
    assert load_composition(example).service == "digits"


def test_relative_paths_count_from_the_file(tmp_path: Path) -> None:
    text = "state: data\nmanifests: [own.yaml]\ndetectors: [{name: outlier, artifact: fit, port: 1, admin_port: 2}]"
    composition = load_composition(write(tmp_path, text))
    assert composition.state == tmp_path / "data"
    assert composition.manifests == (tmp_path / "own.yaml",)
    assert composition.detectors[0].artifact == tmp_path / "fit"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("upstrem: http://127.0.0.1:1", "upstrem: Extra inputs are not permitted"),
        ("upstream: 127.0.0.1:80", "upstream:"),
        ("page_port: 0", "page_port:"),
        ("page_port: many", "page_port:"),
        ("logger: {port: 9081}", "logger.admin_port: Field required"),
        ("page_port: 9081", "port 9081 is given to two services"),
        ("detectors: [{name: Out/lier, artifact: a, port: 1, admin_port: 2}]", "detectors.0.name"),
        ("detectors: [{name: broker, artifact: a, port: 1, admin_port: 2}]", "the name 'broker' is taken"),
        ("detectors: [{name: elasticsearch, artifact: a, port: 1, admin_port: 2}]", "'elasticsearch' is taken"),
        ("detectors: [{name: a, artifact: a, judges: both, port: 1, admin_port: 2}]", "detectors.0.judges"),
        ("detectors: [{name: a, artifact: a, judges: pair, port: 1, admin_port: 2}]", "name 'manifests'"),
        ("kafka: {servers: ''}", "kafka.servers:"),
        ("kafka: {servers: 'a:1', prefix: 'a/b'}", "kafka.prefix:"),
        ("kafka: {servers: 'a:x'}", "kafka: Kafka server 'a:x' is not host:port"),
        ("elasticsearch: {url: 'http://me:hunter2@a'}", "elasticsearch: the URL of Elasticsearch names a user"),
        ("elasticsearch: {url: 'http://a', index_prefix: Shop}", "'Shop' is not an index prefix"),
        ("elasticsearch: {index_prefix: shop}", "elasticsearch.url: Field required"),
        ("elasticsearch: {url: 'http://a', port: 9081}", "port 9081 is given to two services"),
        ("- a list", "is not a mapping"),
        ("a: [b", "is not YAML"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, words: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ConfigurationError) as caught:
        load_composition(path)
    assert words in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"cannot read .*nowhere\.yaml"):
        load_composition(tmp_path / "nowhere.yaml")


def test_processes_start_from_the_sinks_back_to_the_sources() -> None:
    composition = compose({"detectors": [DETECTOR]}, Path(), "here")
    names = [process.name for process in processes(composition)]
    assert names == ["records", "prometheus", "outlier", "broker", "logger", "page"]


def test_the_logger_gets_the_flags_of_kserves_injector() -> None:
    logger = next(process for process in processes(Composition(service="digits")) if process.name == "logger")
    text = " ".join(logger.arguments)
    assert "--log-url http://127.0.0.1:8610/default/default --source-uri digits-predictor --log-mode all" in text
    assert "--logger-tls-skip-verify false --component-host 127.0.0.1 --component-port 8080" in text


def test_only_the_triggers_of_what_runs_are_loaded() -> None:
    names = [path.stem for path in default_manifests(compose({"detectors": [DETECTOR]}, Path(), "here"))]
    assert names == ["broker", "records", "prometheus", "outlier"]


def test_a_detector_without_a_trigger_is_an_error() -> None:
    composition = compose({"detectors": [{**DETECTOR, "name": "fraud"}]}, Path(), "here")
    with pytest.raises(ConfigurationError, match="detector 'fraud' has no Trigger"):
        default_manifests(composition)


def on_services(folder: Path) -> Composition:
    services = {
        "kafka": {"servers": "kafka-1:9092,kafka-2:9092", "prefix": "shop", "config": "client.properties"},
        "elasticsearch": {"url": "https://search:9200", "index_prefix": "shop"},
    }
    return compose({"detectors": [DETECTOR], **services}, folder, "here")


def arguments_of(composition: Composition, name: str) -> str:
    return " ".join(next(process for process in processes(composition) if process.name == name).arguments)


def test_with_kafka_no_broker_runs_and_every_process_is_a_group_of_its_own(tmp_path: Path) -> None:
    composition = on_services(tmp_path)
    names = [process.name for process in processes(composition)]
    assert names == ["records", "prometheus", "elasticsearch", "outlier", "logger", "page"]
    outlier = arguments_of(composition, "outlier")
    assert "--source kafka://kafka-1:9092,kafka-2:9092/shop-events --group shop-outlier" in outlier
    assert "--sink-url kafka://kafka-1:9092,kafka-2:9092/shop-verdicts" in outlier
    records = arguments_of(composition, "records")
    assert "/shop-events,shop-verdicts --group shop-records" in records
    assert "--log-url kafka://kafka-1:9092,kafka-2:9092/shop-events" in arguments_of(composition, "logger")
    assert "--broker-admin" not in arguments_of(composition, "page")


def test_every_process_that_meets_kafka_is_told_its_settings(tmp_path: Path) -> None:
    composition = on_services(tmp_path)
    wanted = f"--kafka-config {tmp_path / 'client.properties'}"
    assert all(wanted in arguments_of(composition, process.name) for process in processes(composition))


@pytest.mark.parametrize("with_kafka", [False, True])
def test_what_waits_for_a_service_gives_up_before_the_supervisor_does(tmp_path: Path, with_kafka: bool) -> None:
    composition = on_services(tmp_path)
    if not with_kafka:
        composition = composition.model_copy(update={"kafka": None})
    told = {
        name: arguments_of(composition, name).count("--wait 45s") for name in ("elasticsearch", "records", "outlier")
    }
    assert told == {"elasticsearch": 1, "records": int(with_kafka), "outlier": int(with_kafka)}
    assert SupervisorLimits().ready_s > 45


@pytest.mark.parametrize("with_kafka", [False, True])
def test_every_command_line_is_one_that_its_command_takes(tmp_path: Path, with_kafka: bool) -> None:
    parsers = {
        "broker": broker_cli.parse,
        "detect": detectors_cli.parse,
        "logger": logger_cli.parse,
        "page": page_cli.parse,
        "sink": sinks_cli.parse,
    }
    composition = on_services(tmp_path)
    (tmp_path / "client.properties").write_text("client.id=wayside\n")
    if not with_kafka:
        composition = composition.model_copy(update={"kafka": None})
    for process in processes(composition):
        parsers[process.arguments[0]](process.arguments[1:], {})


def test_a_composition_with_elasticsearch_has_a_trigger_for_it(tmp_path: Path) -> None:
    composition = on_services(tmp_path).model_copy(update={"kafka": None})
    names = [path.stem for path in default_manifests(composition)]
    assert names == ["broker", "records", "prometheus", "elasticsearch", "outlier"]


def test_what_hands_events_over_in_order_is_not_starved_by_a_busy_machine() -> None:
    """At a niceness of 10 ordered delivery came to 5 events a second on two busy processors."""
    niceness = {
        process.name: process.niceness for process in processes(compose({"detectors": [DETECTOR]}, Path(), "x"))
    }
    assert niceness["logger"] == 0
    assert niceness["broker"] == niceness["outlier"] == 1
    assert niceness["broker"] < niceness["records"] < niceness["page"]
