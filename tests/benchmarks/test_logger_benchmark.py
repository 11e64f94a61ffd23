"""The parts of the logger's benchmark that compute: what wrk and nginx printed, ratios, verdicts, tables, commands."""

import json
import os
import socket
from pathlib import Path

import pytest
from logger_cases import CPU_DELIVERED, EVENTS_PER_CPU_S, OUT, P99, added, beside
from logger_load import Load, parse_wrk, payload, people
from logger_peers import Ports, configuration, model_servers, parse_status
from logger_programs import Program, Start, pins, usage, wayside
from logger_runs import Outcome
from logger_tables import Row, Target, cells, markdown, ratio, summary

_WRK = """Running 2s test @ http://127.0.0.1:18600/
  1 threads and 16 connections
{"requests": 62773, "elapsed_us": 2099737, "p50_us": 513, "p99_us": 981, "refused": 2, "broken": 1}
"""
_STATUS = (
    "Active connections: 1 \nserver accepts handled requests\n 137 136 425796 \nReading: 0 Writing: 1 Waiting: 0 \n"
)


def test_wrks_last_line_is_read() -> None:
    load = parse_wrk(_WRK)
    assert load == Load(62773, 2.099737, 0.513, 0.981, refused=2, broken=1)
    assert round(load.rate) == 29896


@pytest.mark.parametrize("text", ["", "unable to connect to 127.0.0.1", "{}", '{"requests": 1}', "[1, 2]", "7"])
def test_what_is_not_wrks_line_is_refused_with_its_text(text: str) -> None:
    with pytest.raises(ValueError, match=r"logger_load\.lua"):
        parse_wrk(text)


def test_nginx_counters_are_read() -> None:
    assert parse_status(_STATUS) == (137, 425796)
    with pytest.raises(ValueError, match="stub_status"):
        parse_status("<html>")


@pytest.mark.parametrize("make", [payload, people])
@pytest.mark.parametrize("length_bytes", [200, 201, 1000, 100_000])
def test_a_body_has_its_length_and_is_json(make: type[bytes], length_bytes: int) -> None:
    body = make(length_bytes)
    assert len(body) == length_bytes
    assert len(json.loads(body)["instances"]) > 1


@pytest.mark.parametrize(
    ("target", "ours", "agent", "words", "verdict"),
    [
        (Target(0.35), 35, 100, "≤ 0.35x", "ok"),
        (Target(0.35), 36, 100, "≤ 0.35x", "short"),
        (Target(1.5, at_least=True), 150, 100, "≥ 1.5x", "ok"),
        (Target(1.5, at_least=True), 149, 100, "≥ 1.5x", "short"),
        (Target(200, of_ours=True), 200, None, "≤ 200", "ok"),
        (Target(200, of_ours=True), 201, 1000, "≤ 200", "short"),
        (Target(0.9, at_least=True, of_ours=True), 0.89, 2, "≥ 0.9", "short"),
        (Target(3, at_least=True), 9, None, "≥ 3x", ""),
        (Target(3, at_least=True), 9, 0, "≥ 3x", ""),
        (Target(1, of_ours=True), None, None, "≤ 1", ""),
    ],
)
def test_a_target_judges(target: Target, ours: float | None, agent: float | None, words: str, verdict: str) -> None:
    assert (str(target), target.judge(ours, agent)) == (words, verdict)


@pytest.mark.parametrize(
    ("ours", "agent", "expected"), [(3, 2, 1.5), (0, 2, 0), (3, 0, None), (None, 2, None), (3, None, None)]
)
def test_a_ratio_needs_both_figures(ours: float | None, agent: float | None, expected: float | None) -> None:
    assert ratio(ours, agent) == expected


ROWS = [
    Row("200 B, off", "req/s", 22500.4, 9045.0),
    Row("200 B, off", "p99 ms", 1.234, None, 2),
    Row("200 B, logging", "req/s", 9000.0, 4500.0, target=Target(1.5, at_least=True)),
    Row("200 B, logging", "p99 ms", 9.0, 10.0, 2, Target(0.5)),
]


def test_cells_are_the_figures_as_text() -> None:
    assert [cells(row) for row in ROWS] == [
        ("200 B, off", "req/s", "22,500", "9,045", "2.49x", "", ""),
        ("200 B, off", "p99 ms", "1.23", "-", "-", "", ""),
        ("200 B, logging", "req/s", "9,000", "4,500", "2.00x", "≥ 1.5x", "ok"),
        ("200 B, logging", "p99 ms", "9.00", "10.00", "0.90x", "≤ 0.5x", "short"),
    ]


def test_markdown_names_a_case_once() -> None:
    lines = markdown("Throughput", ROWS).splitlines()
    assert lines[0] == "### Throughput"
    assert lines[3].count("---") == lines[2].count("|") - 1
    assert [line.split("|")[1].strip() for line in lines[4:]] == ["200 B, off", "", "200 B, logging", ""]


def test_the_summary_names_what_is_short() -> None:
    missing = Row("x", "y", 1.0, None, target=Target(2))
    assert summary([*ROWS, missing]) == "1 targets met, 1 short, 1 not judged\n  short: 200 B, logging: p99 ms"


def outcome(cpu_s: float, delivered: int, p99_ms: float = 4.0) -> Outcome:
    return Outcome(Load(100, 1.0, 1.0, p99_ms), 200, cpu_s, cpu_s, 50.0, 16, delivered // 2, delivered)


def test_events_that_never_arrive_make_those_that_do_dearer() -> None:
    whole, half = outcome(0.1, 200), outcome(0.1, 100)
    assert [CPU_DELIVERED.of(each) for each in (whole, half)] == pytest.approx([1000, 2000])
    assert [EVENTS_PER_CPU_S.of(each) for each in (whole, half)] == pytest.approx([2000, 1000])
    assert [OUT.of(each) for each in (whole, half)] == pytest.approx([50, 25])


def test_a_case_beside_another_is_a_multiple_of_the_same_programs() -> None:
    rows = list(beside("dead sink", "logging off", (outcome(1, 2, 6.0), None), (outcome(1, 2, 4.0), None), 0.1))
    assert [(row.ours, row.agent) for row in rows] == [(1.0, None), (1.5, None)]
    assert rows[1].figure == f"{P99.name} ÷ logging off's"
    assert [row.target and row.target.judge(row.ours, None) for row in rows] == ["ok", "short"]


def test_what_a_sink_adds_is_a_difference_without_a_ratio() -> None:
    pair, base = (outcome(1, 2, 4.75), outcome(1, 2, 9.0)), (outcome(1, 2, 4.0), outcome(1, 2, 4.0))
    assert cells(list(added("dead sink", pair, base))[-1])[2:] == ("0.75", "5.00", "-", "≤ 1", "ok")
    assert len(list(added("logging off", base, base))) == 2


def test_a_program_gets_the_injectors_flags_in_the_injectors_order() -> None:
    start = Start(8080, "https://sink/x", Path("/tmp/b/ca.crt"), ("--grace", "1"))
    arguments = Program("agent", ("agent", "--port", "1"), is_agent=True).arguments(start)
    assert arguments[:6] == ("agent", "--port", "1", "--grace", "1", "--log-url")
    assert [token for token in arguments[5:] if token.startswith("--")] == [
        *("--log-url", "--source-uri", "--log-mode", "--inference-service", "--namespace", "--endpoint"),
        *("--component", "--logger-ca-cert-file", "--logger-tls-skip-verify", "--component-port"),
    ]
    assert os.path.normpath(f"/etc/tls/logger/{arguments[-5]}") == "/tmp/b/ca.crt"
    ours = wayside(Ports(1)).arguments(start)
    assert ours[-5] == "/tmp/b/ca.crt"


def test_without_a_log_url_nothing_is_said_of_logging() -> None:
    assert Program("agent", ("agent",), is_agent=True).arguments(Start(8080)) == ("agent", "--component-port", "8080")


@pytest.mark.parametrize(("cores", "others"), [(1, "0"), (2, "1"), (16, "1-15")])
def test_the_load_runs_on_the_other_cores(cores: int, others: str) -> None:
    assert pins(cores) == (("taskset", "-c", "0"), ("taskset", "-c", others))


def test_a_long_answer_is_a_file_and_a_short_one_stands_in_the_configuration(tmp_path: Path) -> None:
    short, long = payload(200), payload(100_000)
    text = configuration(model_servers(Ports(18600), [short, long], tmp_path), tmp_path, "model")
    assert short.decode() in text
    assert len(text) < 5000
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [long]


def test_usage_is_that_of_a_process() -> None:
    used = usage(os.getpid())
    assert used.cpu_s > 0
    assert used.peak_bytes >= used.resident_bytes > 1 << 20


def test_a_port_that_somebody_has_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SystemExit, match=f"port {port}: .*; --ports names others"):
            Ports(port).check_free()
