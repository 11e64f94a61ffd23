"""A composition is checked whole before anything starts, and says what is wrong and where."""

from pathlib import Path

import pytest

from wayside.eventing.errors import ConfigurationError
from wayside.local.composition import Composition, compose, default_manifests, load_composition, processes

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
