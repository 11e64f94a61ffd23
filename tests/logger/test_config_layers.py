"""Who may set what: flags and environment, a namespace's file, a service's annotations; and what a mistake costs."""

from pathlib import Path

import pytest
import yaml

from wayside.eventing.errors import ConfigurationError
from wayside.logger.config.configuration import configuration_of
from wayside.logger.config.mounted import read_settings
from wayside.logger.config.options import NAMESPACE_SETTINGS, SERVICE_SETTINGS, parser
from wayside.logger.config.values import parse_sample, parse_statuses
from wayside.logger.settings import Redacted, RedactionRule, Sampling, StatusShare, Target

BASE = ["--log-url", "http://broker/"]


def annotated(*values: str) -> list[str]:
    return [*BASE, "--metadata-annotations", ",".join(["team=a", *(f"logger.wayside.dev/{value}" for value in values)])]


def mounted(folder: Path, text: str) -> list[str]:
    (folder / "wayside.yaml").write_text(text, encoding="utf-8")
    return ["--settings-file", str(folder / "wayside.yaml")]


@pytest.mark.parametrize(
    ("text", "sampling"),
    [
        ("10%", Sampling(share=0.1)),
        ("100 %", Sampling(share=1.0)),
        ("0%", Sampling(share=0.0)),
        ("0.125%", Sampling(share=0.00125)),
        ("100/s", Sampling(per_second=100.0)),
        ("0.5/s", Sampling(per_second=0.5)),
    ],
)
def test_sampling_is_a_share_or_a_rate(text: str, sampling: Sampling) -> None:
    assert parse_sample(text) == sampling


@pytest.mark.parametrize("text", ["500-599=100%,200=1%", "500-599=100%; 200=1%"])
def test_shares_by_status(text: str) -> None:
    assert parse_statuses(text) == (StatusShare(500, 599, 1.0), StatusShare(200, 200, 0.01))


def test_the_nearer_wins(tmp_path: Path) -> None:
    environ = {"WAYSIDE_LOGGER_SAMPLE": "1%", "WAYSIDE_LOGGER_WORKERS": "1", "WAYSIDE_LOGGER_GRACE": "1"}
    file = mounted(tmp_path, "logger: {sample: 3%, workers: 3, oversize: skip}")
    argv = [*annotated("sample=4%"), *file, "--sample", "2%", "--grace", "2", "--quiet-period", "0"]
    settings = configuration_of(argv, environ).settings
    assert settings.capture.sampling.share == pytest.approx(0.04)  # the service's
    assert settings.delivery.workers == 3  # the namespace's
    assert settings.grace_s == 2  # the flag's
    assert settings.capture.oversize == "skip"


def test_redaction_rules_of_all_origins_add_up(tmp_path: Path) -> None:
    file = mounted(tmp_path, "logger:\n  redact: ['column:a;b=mask', 'header:authorization=drop']\n")
    argv = [*annotated("redact=pointer:/instances/*/ssn=mask; column:age=drop"), *file, "--redact", "column:x=mask"]
    rules = configuration_of(argv, {"WAYSIDE_LOGGER_REDACT": "column:y=mask;column:z=drop"}).settings.side_work.rules
    assert [(rule.target.value, rule.name) for rule in rules] == [
        *(("column", "y"), ("column", "z"), ("column", "x"), ("column", "a;b"), ("header", "authorization")),
        *(("pointer", "/instances/*/ssn"), ("column", "age")),
    ]
    assert rules[-1] == RedactionRule(Target.COLUMN, "age", Redacted.DROP)


def test_our_annotations_are_settings_and_do_not_travel() -> None:
    found = configuration_of(annotated("max-body-bytes=1Mi", "compat=kserve"), {})
    assert found.settings.identity.annotations == {"team": "a"}
    assert found.settings.capture.body_bytes == 1 << 20
    assert found.settings.capture.kserve_compatible
    assert (found.faults, found.is_layered) == ((), True)


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        ("sampel=1%", "'sampel' is no setting"),
        ("log-url=http://elsewhere/", "'log-url' is not set here"),
        ("port=1", "'port' is not set here"),
        ("logger-ca-cert-file=/x", "'logger-ca-cert-file' is not set here"),
        ("redact-key-file=/x", "'redact-key-file' is not set here"),
        ("sample=some", "neither a share"),
        ("redact=ssn", "write TARGET:NAME=LEFT"),
        ("processes=0", "1 to 64"),
        ("workers=4097", "1 to 4096"),
        ("redact=pointer:/a=mask,header:b=drop", "holds several"),
        ("spool-limit=1Gb", "not a size"),
    ],
)
def test_a_services_mistake_turns_capture_off_and_nothing_else(annotation: str, words: str) -> None:
    found = configuration_of(annotated(annotation, "spool=/spool"), {})
    assert found.settings.delivery.url == ""
    assert found.settings.delivery.spool is None
    assert found.settings.listen.port == 9081
    assert words in " ".join(found.faults)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("logger: [1]", "must be a mapping of settings"),
        ("- logger", "must be a mapping with the section"),
        ("logger: {sample: {a: 1}}", "sample: must be a text"),
        ("logger: {1: 2}", "1 is no setting's name"),
        ("logger: {sampel: 1%}", "'sampel' is no setting"),
        ("logger: {log-url: 'http://x/'}", "'log-url' is not set here"),
        ("logger: {sample: &a 1%, grace: *a}", "aliases"),
        ("logger: {sample", "not YAML"),
        ("logger: !!python/object/apply:os.system [ls]", "tags are not taken"),
        ("logger: {workers: !!int }", "tags are not taken"),
        ("logger: {compress: !!bool gzip}", "tags are not taken"),
        ("logger: {workers: !!timestamp x}", "tags are not taken"),
        ("redact: [column:ssn=mask]", "nothing beside it"),
        ("loggers: {redact: [column:ssn=mask]}", "nothing beside it"),
        ("logger: {redact: [column:ssn=mask], redact: [column:age=drop]}", "given twice"),
        ("logger: {sample: 1%}\nlogger: {grace: 1}", "given twice"),
        ("logger: {<<: {sample: 1%}}", "merged"),
        ("logger:\n  redact: column:ssn=mask, column:age=drop", "holds several"),
        ("a: " + "[" * 60_000, "lists within lists"),
        ("#" * ((64 << 10) + 1), "over 65536 bytes"),
        ("logger: {sample: ten}", "neither a share"),
    ],
    ids=range(21),
)
def test_a_namespaces_mistake_turns_capture_off_and_nothing_else(tmp_path: Path, text: str, words: str) -> None:
    found = configuration_of([*BASE, *mounted(tmp_path, text)], {})
    assert found.settings.delivery.url == ""
    assert words in " ".join(found.faults)


@pytest.mark.parametrize("text", ["", "logger:", "logger: {}"])
def test_a_file_without_settings_is_none(tmp_path: Path, text: str) -> None:
    found = configuration_of([*BASE, *mounted(tmp_path, text)], {})
    assert (found.faults, found.is_layered, found.settings.delivery.url) == ((), False, "http://broker/")


def test_a_file_that_is_not_mounted_is_none(tmp_path: Path) -> None:
    assert read_settings(tmp_path / "wayside.yaml") == {}


def test_a_file_sets_what_it_may(tmp_path: Path) -> None:
    text = (
        "logger: {redact-key-file: /etc/tls/logger/key, redact: 'column:a=hash', processes: 2, spool: /s, grace: 1.5}"
    )
    settings = configuration_of([*BASE, *mounted(tmp_path, text)], {}).settings
    assert str(settings.side_work.hash_key_file) == "/etc/tls/logger/key"
    assert (settings.processes, settings.grace_s) == (2, 1.5)
    assert settings.delivery.spool is not None


def test_a_wrong_flag_is_an_error_whatever_a_service_says() -> None:
    with pytest.raises(ConfigurationError, match="--sample"):
        configuration_of([*annotated("sample=1%"), "--sample", "x"], {})


def test_what_may_be_set_is_a_setting() -> None:
    flags = {name.removeprefix("--") for name in parser()._option_string_actions}
    assert SERVICE_SETTINGS < NAMESPACE_SETTINGS < flags


@pytest.mark.parametrize("name", ["PROCESS", "ENABLE_PULLER", "ENABLE_BATCHER"])
def test_what_this_process_is_comes_from_the_command_line_alone(name: str) -> None:
    assert configuration_of([], {f"WAYSIDE_LOGGER_{name}": "1"}) == configuration_of([], {})


def test_a_queue_that_holds_less_than_a_body_is_told() -> None:
    assert configuration_of(BASE, {}).notes == ()
    (note,) = configuration_of([*BASE, "--processes", "8"], {}).notes
    assert "no room in the queue" in note


@pytest.mark.parametrize("written", ["column:ssn=mask; column:age=drop", "column:ssn=mask\ncolumn:age=drop\n"])
def test_a_list_is_the_same_in_every_origin(tmp_path: Path, written: str) -> None:
    in_file = mounted(tmp_path, yaml.safe_dump({"logger": {"redact": written}}))
    environ = {"WAYSIDE_LOGGER_REDACT": written}
    for argv, variables in (([*BASE, *in_file], {}), (annotated(f"redact={written}"), {}), (BASE, environ)):
        found = configuration_of(argv, variables)
        assert [rule.name for rule in found.settings.side_work.rules] == ["ssn", "age"]
        assert found.faults == ()


def test_shares_with_commas_stay_together() -> None:
    found = configuration_of(annotated("sample-status=500-599=100%,200=1%"), {})
    assert len(found.settings.capture.sampling.by_status) == 2
    assert found.settings.identity.annotations == {"team": "a"}


def test_our_prefix_is_ours_in_any_case() -> None:
    pairs = "Logger.Wayside.dev/redact=column:ssn=mask,logger.wayside.dev/redact=column:age=drop,team=a"
    settings = configuration_of([*BASE, "--metadata-annotations", pairs], {}).settings
    assert [rule.name for rule in settings.side_work.rules] == ["ssn", "age"]
    assert settings.identity.annotations == {"team": "a"}


@pytest.mark.parametrize(
    "wrong",
    [
        ("--log-url", "broker.default"),
        ("--log-url", "http://münchen/"),
        ("--log-url", "s3://b", "--log-marshaller-url", "m"),
    ],
)
def test_one_services_log_url_does_not_stop_it(wrong: tuple[str, ...]) -> None:
    with pytest.raises(ConfigurationError):  # at a shell
        configuration_of(wrong, {})
    found = configuration_of([*wrong, "--inference-service", "digits"], {"WAYSIDE_LOGGER_SPOOL": "/spool"})
    assert (found.settings.delivery.url, found.settings.delivery.spool, len(found.faults)) == ("", None, 1)
    with pytest.raises(ConfigurationError, match="--grace"):
        configuration_of([*wrong, "--inference-service", "digits", "--grace", "-1"], {})


@pytest.mark.parametrize(
    ("written", "sent"),
    [("http://h/a b?c=d e", "http://h/a%20b?c=d%20e"), ("http://h/p\u00e4th%20", "http://h/p%C3%A4th%20")],
)
def test_a_log_url_is_encoded_as_go_would(written: str, sent: str) -> None:
    assert configuration_of(["--log-url", written], {}).settings.delivery.url == sent


@pytest.mark.parametrize(
    ("limit", "annotation", "is_fault"),
    [
        ("268435456\n", "queue-bytes=128Mi", True),
        ("268435456\n", "processes=4", True),
        ("268435456\n", "capture-total=64Mi", False),
        ("1\n", "sample=1%", False),  # the bounds are not the service's
        ("max\n", "queue-bytes=128Gi", False),
        (None, "queue-bytes=128Gi", False),
    ],
)
def test_a_service_cannot_ask_for_more_memory_than_there_is(
    tmp_path: Path, limit: str | None, annotation: str, is_fault: bool
) -> None:
    file = tmp_path / "memory.max"
    if limit is not None:
        file.write_text(limit, encoding="ascii")
    found = configuration_of(annotated(annotation), {}, file)
    assert bool(found.faults) is is_fault
    assert (found.settings.delivery.url == "") is is_fault
