"""The agent's command line, token by token as it reads it, and what its flags stand for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wayside.logger import cli
from wayside.logger.config.configuration import configuration_of
from wayside.logger.config.options import parser
from wayside.logger.config.tokens import joined, read_tokens
from wayside.logger.config.values import annotation_pairs, parse_count, parse_duration_s
from wayside.logger.settings import Batching, LogMode, Store, StoreFormat

S3 = ["--log-url", "s3://bucket/prefix"]
# cmd/agent/main.go at aaac4e294
AGENT_DEFAULTS = {
    **{"port": 9081, "component_port": 8080, "log_url": "", "source_uri": "", "log_mode": "all", "log_store_path": ""},
    **{"enable_puller": False, "config_dir": "/mnt/configs", "model_dir": "/mnt/models", "log_store_format": "json"},
    **{"log_marshaller_url": "http://localhost:9083/marshal", "log_marshaller_port": 9083, "log_batch_size": 1},
    **{"log_batch_interval": 0.0, "inference_service": "", "namespace": "", "endpoint": "", "component": ""},
    **{"metadata_headers": [], "metadata_annotations": [], "enable_batcher": False, "max_batchsize": "32"},
    **{"max_latency": "5000", "probe_period": "-1", "logger_ca_cert_file": "service-ca.crt"},
    **{"logger_tls_skip_verify": False, "workers": 16},  # 5 there; ours are connections that are kept
}


def test_every_flag_of_the_agent_is_known_with_its_default() -> None:
    parsed = vars(parser().parse_args([]))
    assert {name: parsed.get(name) for name in AGENT_DEFAULTS} == AGENT_DEFAULTS


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["--log-url", "--x"], ["--log-url=--x"]),  # the next token is the value, whatever it is
        (["--endpoint", "", "--component", "c"], ["--endpoint=", "--component=c"]),
        (["--endpoint="], ["--endpoint="]),
        (["--logger-tls-skip-verify", "false"], ["--logger-tls-skip-verify=false"]),
        (["--logger-tls-skip-verify", "--port", "1"], ["--logger-tls-skip-verify", "--port=1"]),
        (["--logger-tls-skip-verify", "word"], ["--logger-tls-skip-verify", "None=word"]),
        (["-port", "1"], ["--port=1"]),
        (["word", "--port", "1", "--", "--port", "2"], ["None=word", "--port=1", "None=--port", "None=2"]),
        (["--port"], ["--port"]),
        (["--unknown", "x"], ["--unknown", "None=x"]),
    ],
)
def test_tokens_are_read_as_pflag_reads_them(argv: list[str], expected: list[str]) -> None:
    assert [joined(one) for one in read_tokens(parser(), argv)] == expected


@given(st.lists(st.sampled_from(["--port", "--log-url", "--enable-puller", "x", "", "false", "--", "-", "--a=b", "1"])))
def test_no_token_is_lost_or_made_up(argv: list[str]) -> None:
    written = [token for one in read_tokens(parser(), argv) for token in one.written]
    assert written == [token for index, token in enumerate(argv) if index != first_end(argv)]


def first_end(argv: list[str]) -> int:
    """Where the `--` is that ends the flags, and is no flag's value."""
    takes_value, index = ("--port", "--log-url"), 0
    while index < len(argv):
        if argv[index] == "--":
            return index
        index += 2 if argv[index] in takes_value else 1
    return -1


def test_arguments_that_are_no_flags_are_passed_over_and_told() -> None:
    found = configuration_of(["word", "--port", "1"], {})
    assert found.settings.listen.port == 1
    assert found.notes == ("'word' is no flag, and is passed over",)


@pytest.mark.parametrize(
    ("text", "number"), [("16", 16), ("0x1F", 31), ("0b11", 3), ("0o17", 15), ("017", 15), ("1_000", 1000), ("-1", -1)]
)
def test_whole_numbers_as_go_writes_them(text: str, number: int) -> None:
    assert parse_count(text) == number


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("5s", 5),
        ("100ms", 0.1),
        ("1m30s", 90),
        ("0", 0),
        ("1.5h", 5400),
        (".5s", 0.5),
        ("20us", 2e-5),
        ("1ns", 1e-9),
        ("-5s", 0),
        ("-0", 0),
        ("+5s", 5),
        ("25h", 86_400),
    ],
)
def test_durations_as_go_writes_them(text: str, seconds: float) -> None:
    assert parse_duration_s(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ("", {}),
        ("team=a,tier=b", {"team": "a", "tier": "b"}),
        ("team=a,team=b", {"team": "b"}),
        ("note=a=b", {"note": "a=b"}),
        ("empty=,next=1", {"empty": "", "next": "1"}),
        ('"note=a,b",team=c', {"note": "a,b", "team": "c"}),  # as the agent reads CSV
        ("note=a, b,team=c", {"note": "a, b", "team": "c"}),  # ends the agent with 255
        ('k={"a":1}', {"k": '{"a":1}'}),  # ends the agent with 2
        ('k={"a":1,"b":[2,3]},team=c', {"k": '{"a":1,"b":[2,3]}', "team": "c"}),
        ("example.com/name=x,y", {"example.com/name": "x,y"}),
        ("note=5=1%,200=1%", {"note": "5=1%,200=1%"}),  # a key has a letter
    ],
)
def test_annotations_as_the_injector_joins_them(text: str, pairs: dict[str, str]) -> None:
    assert annotation_pairs([text]) == pairs


@pytest.mark.parametrize(
    ("argv", "names"),
    [
        (["--metadata-headers", "X-Tenant, x-user"], {"x-tenant", "x-user"}),
        (["--metadata-headers", "A", "--metadata-headers", "B"], {"a", "b"}),
        (["--metadata-headers", ""], set()),
        (["--metadata-headers", "X-Tenant,x-user", "--compat", "kserve"], {"X-Tenant", "x-user"}),
    ],
)
def test_metadata_headers(argv: list[str], names: set[str]) -> None:
    assert cli.parse(argv, {}).capture.metadata_headers == names


def test_the_agents_way_in_every_respect() -> None:
    settings = cli.parse(["--compat", "kserve", "--log-mode", "response"], {})
    assert settings.capture.kserve_compatible
    assert settings.delivery.raw_values
    assert settings.capture.mode is LogMode.RESPONSE


@pytest.mark.parametrize(
    ("argv", "store"),
    [
        (["--log-store-path", "/logs"], Store("/logs")),
        ([], Store("")),  # the agent loses every batch then
        (["--log-store-path", "/logs", "--log-store-format", "csv"], Store("/logs", StoreFormat.CSV)),
        (["--log-store-path", "p", "--log-store-format", "avro"], Store("p")),
        (["--compat", "kserve"], Store("", kserve_compatible=True)),
        (["--log-marshaller-url", "http://m.ns:80/x"], Store("", marshaller_url="http://m.ns:80/x")),
        (["--log-marshaller-url", "http://localhost:9083/marshal"], Store("")),
        (["--log-marshaller-url", "http://localhost:9/m", "--log-marshaller-port", "9"], Store("")),
    ],
)
def test_files_instead_of_messages(argv: list[str], store: Store) -> None:
    assert cli.parse([*S3, *argv], {}).delivery.store == store


@pytest.mark.parametrize("url", ["gs://bucket", "abfs://container@account.dfs.core.windows.net/folder", "file:///logs"])
def test_stores_of_files(url: str) -> None:
    assert cli.parse(["--log-url", url, "--log-store-path", "p"], {}).delivery.store == Store("p")


@pytest.mark.parametrize("url", ["http://b/", "https://b/", "kafka://b:9092/t", "stdout:"])
def test_messages_stay_messages_whatever_is_said_of_files(url: str) -> None:
    argv = ["--log-url", url, "--log-store-path", "p", "--log-batch-size", "9", "--log-marshaller-url", "http://m"]
    delivery = cli.parse(argv, {}).delivery
    assert (delivery.store, delivery.batching) == (None, Batching())


@pytest.mark.parametrize(
    ("argv", "batching"),
    [
        ([*S3], Batching()),
        ([*S3, "--log-batch-size", "10", "--log-batch-interval", "5s"], Batching(10, 5.0)),
        ([*S3, "--log-batch-size", "1", "--log-batch-interval", "5s"], Batching()),
        ([*S3, "--log-batch-size", "10"], Batching(10, 60.0)),  # for ever, with the agent
        (["--log-url", "http://b/", "--batch-events", "100", "--batch-interval", "0.5"], Batching(100, 0.5)),
        ([*S3, "--batch-events", "100", "--log-batch-size", "10"], Batching(100, 0.0)),
    ],
)
def test_batches(argv: list[str], batching: Batching) -> None:
    assert cli.parse(argv, {}).delivery.batching == batching
