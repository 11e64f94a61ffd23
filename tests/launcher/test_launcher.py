"""The launcher of real services: what it starts, what it leaves alone, and what it says when something is missing."""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from service_launcher import containers, elasticsearch, jars, kafka, packages, processes, prometheus, startup
from service_launcher.network import LOOPBACK, free_port, probe_http
from service_launcher.workspace import Launch, NotAnswering, Program, ServiceError, Workspace, variable

LAUNCHER = Path(__file__).parents[1] / "services" / "launcher.py"
SLEEP = (sys.executable, "-c", "import time; time.sleep(60)")
PORTS = kafka.Ports(plain=21001, sasl=21002, controller=21003)


@dataclass(frozen=True)
class Small:
    """A real service of a few lines: Python's own file server, or whatever `script` does instead."""

    name: str = "small"
    script: str = ""
    programs: tuple[Program, ...] = ()

    def prepare(self, work: Workspace) -> Launch:
        port = free_port()
        serve = ("-m", "http.server", str(port), "--bind", LOOPBACK, "--directory", str(work.folder))
        command = (sys.executable, *(("-c", self.script) if self.script else serve))
        return Launch(self.name, command, {variable(self.name): f"http://{LOOPBACK}:{port}"})

    def probe(self, address: str) -> None:
        probe_http(address)


def alive(work: Workspace, name: str = "small") -> bool:
    running = processes.find(work.folder, name)
    return running is not None and running.alive


def run_launcher(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    bare = {key: value for key, value in os.environ.items() if not key.startswith("WAYSIDE_TEST_")}
    command = [sys.executable, str(LAUNCHER), *map(str, arguments)]
    return subprocess.run(command, env=bare | environment, capture_output=True, text=True, check=False)


@contextmanager
def only_program(monkeypatch: pytest.MonkeyPatch, folder: Path, *scripts: tuple[str, str]) -> Iterator[None]:
    """A path that holds these programs and nothing else; each is a script of the shell."""
    folder.mkdir(exist_ok=True)
    for name, text in scripts:
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    with monkeypatch.context() as patch:
        patch.setenv("PATH", str(folder))
        yield


def test_a_service_goes_up_once_restarts_in_place_and_goes_down_twice(work: Workspace) -> None:
    small = Small()
    addresses = startup.bring_up([small], work, {})
    first = processes.find(work.folder, "small")
    assert first is not None
    assert addresses == startup.bring_up([small], work, {}), "what runs is kept"
    assert startup.restart(small, work) == addresses
    second = processes.find(work.folder, "small")
    assert second is not None
    assert second.pid != first.pid
    assert not first.alive
    assert "GET / " in work.log_file("small").read_text(), "the log goes on through a restart"
    for _ in range(2):
        processes.stop(processes.find_all(work.folder), work.folder)
    assert not second.alive
    assert processes.find_all(work.folder) == []


def test_a_killed_service_comes_back_by_restart(work: Workspace) -> None:
    small = Small()
    addresses = startup.bring_up([small], work, {})
    startup.kill(small, work)
    assert not alive(work)
    with pytest.raises(NotAnswering):
        small.probe(addresses["WAYSIDE_TEST_SMALL"])
    startup.restart(small, work)
    assert alive(work)
    processes.stop(processes.find_all(work.folder), work.folder)


def test_a_service_that_ends_shows_its_log_and_takes_the_others_down(work: Workspace) -> None:
    broken = Small("broken", "import sys; print('no room on the disk'); sys.exit(3)")
    with pytest.raises(ServiceError, match=r"(?s)broken: ended before it answered.*broken\.log.*no room on the disk"):
        startup.bring_up([Small(), broken], work, {})
    assert processes.find_all(work.folder) == []


def test_a_service_that_never_answers_is_given_up_and_stopped(work: Workspace) -> None:
    silent = Small("silent", "import time; time.sleep(60)")
    with pytest.raises(ServiceError, match="silent: no answer at http://127"):
        startup.bring_up([silent], replace(work, limit_s=0.2), {})
    assert processes.find_all(work.folder) == []


def test_another_that_answers_at_the_address_is_not_taken_for_ours(work: Workspace) -> None:
    startup.bring_up([Small("other")], work, {})
    other = processes.find(work.folder, "other")
    assert other is not None
    ended = processes.spawn(Launch("small", ("true",), {}), work)
    deadline = time.monotonic() + 10
    while ended.alive:
        assert time.monotonic() < deadline
    with pytest.raises(ServiceError, match="small: ended"):
        startup.wait_answer(Small(), other.launch.addresses["WAYSIDE_TEST_OTHER"], work, ended)
    processes.stop([other, ended], work.folder)


def test_an_address_of_the_environment_is_checked_and_not_started(work: Workspace) -> None:
    addresses = startup.bring_up([Small("other")], work, {})
    given = {"WAYSIDE_TEST_SMALL": addresses["WAYSIDE_TEST_OTHER"], "WAYSIDE_TEST_SMALL_DIR": "/a", "HOME": "/b"}
    assert startup.bring_up([Small()], work, given) == {key: given[key] for key in list(given)[:2]}
    assert processes.find(work.folder, "small") is None
    processes.stop(processes.find_all(work.folder), work.folder)


@pytest.mark.parametrize("environment", [{}, {"WAYSIDE_TEST_SMALL": ""}, {"WAYSIDE_TEST_SMALL_DIR": "/a"}])
def test_without_an_address_the_environment_gives_nothing(environment: dict[str, str]) -> None:
    assert startup.given_addresses(Small(), environment) == {}


def test_a_dead_given_address_is_an_error_that_names_it(work: Workspace) -> None:
    address = f"http://{LOOPBACK}:{free_port()}"
    with pytest.raises(ServiceError, match=f"small: no answer at {address}.*refused"):
        startup.wait_answer(Small(), address, work, limit_s=0.1)


@pytest.mark.parametrize("address", ["localhost", "ftp://there", "http://[", "http://a b"])
def test_what_is_no_http_address_is_not_waited_for(address: str) -> None:
    with pytest.raises(ServiceError, match="is no address"):
        probe_http(address)


@pytest.mark.parametrize("address", ["", "kafka", ":9092", "kafka:", "kafka:http"])
def test_what_is_no_kafka_address_is_not_waited_for(address: str) -> None:
    with pytest.raises(ServiceError, match="give HOST:PORT"):
        kafka.Kafka().probe(address)


def test_a_restart_of_what_was_never_started_says_how_to_start_it(work: Workspace) -> None:
    with pytest.raises(ServiceError, match=r"run `up .* small`"):
        startup.restart(Small(), work)


def test_a_pid_that_belongs_to_somebody_else_is_left_alone(work: Workspace) -> None:
    with subprocess.Popen(SLEEP) as stranger:
        record = processes.Running(Launch("small", SLEEP, {}), stranger.pid, "1")
        assert not record.alive
        processes.stop([record], work.folder)
        processes.kill(record)
        assert stranger.poll() is None
        assert processes.birth_of(stranger.pid) is not None
        stranger.kill()


def test_a_zombie_has_ended() -> None:
    with subprocess.Popen(["true"]) as child:
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert processes.birth_of(child.pid) is None


def test_a_process_deaf_to_sigterm_is_killed(work: Workspace) -> None:
    deaf = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
    )
    running = processes.spawn(Launch("deaf", (sys.executable, "-c", deaf), {}), work)
    deadline = time.monotonic() + 10
    while "deaf" not in work.log_file("deaf").read_text():
        assert time.monotonic() < deadline
    processes.stop([running], work.folder, grace_s=0.1)
    assert not running.alive


def test_records_come_back_as_they_were_written(work: Workspace) -> None:
    launch = Launch("small", SLEEP, {"A": "b"}, kill=("true", "1"), remove=("touch", str(work.folder / "removed")))
    running = processes.spawn(launch, work)
    assert processes.find(work.folder, "small") == running
    processes.stop([running], work.folder)
    assert (work.folder / "removed").exists()


def test_jars_are_fetched_once_whoever_asks(work: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    download = f'echo x >>{calls}; for a; do case $a in -DoutputDirectory=*) : >"${{a#*=}}/kafka.jar";; esac; done'
    with only_program(monkeypatch, tmp_path / "bin", ("mvn", download)), ThreadPoolExecutor(4) as pool:
        folders = set(pool.map(lambda _: jars.fetch_jars(kafka.POM, "kafka", work), range(4)))
    (folder,) = folders
    assert [jar.name for jar in folder.iterdir()] == ["kafka.jar"]
    assert calls.read_text() == "x\n"


def test_half_a_download_is_not_kept(work: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    half = 'for a; do case $a in -DoutputDirectory=*) : >"${a#*=}/half.jar";; esac; done; echo no such artifact; exit 1'
    with (
        only_program(monkeypatch, tmp_path / "bin", ("mvn", half)),
        pytest.raises(ServiceError, match=r"(?s)mvn ended with status 1.*no such artifact"),
    ):
        jars.fetch_jars(kafka.POM, "kafka", work)
    assert [path.name for path in work.cache.iterdir()] == [".lock"]


def test_the_cache_is_where_the_environment_says() -> None:
    assert jars.cache_folder({"WAYSIDE_SERVICES_CACHE": "/own", "XDG_CACHE_HOME": "/xdg"}) == Path("/own")
    assert jars.cache_folder({"XDG_CACHE_HOME": "/xdg"}) == Path("/xdg/wayside-services")
    assert jars.cache_folder({}) == Path.home() / ".cache" / "wayside-services"


def test_kafka_listens_with_and_without_a_password() -> None:
    config = kafka.render_config(PORTS, Path("/data"), LOOPBACK)
    assert "listeners=PLAIN://127.0.0.1:21001,PASSWORD://127.0.0.1:21002,CONTROLLER://127.0.0.1:21003\n" in config
    assert "advertised.listeners=PLAIN://127.0.0.1:21001,PASSWORD://127.0.0.1:21002\n" in config
    assert 'user_wayside="wayside-test";\n' in config
    assert "auto.create.topics.enable=false\n" in config
    assert "$" not in config
    assert PORTS.addresses() == {
        "WAYSIDE_TEST_KAFKA": "127.0.0.1:21001",
        "WAYSIDE_TEST_KAFKA_SASL": "127.0.0.1:21002",
    }


def test_kafka_settings_become_what_its_image_reads() -> None:
    settings = kafka.as_environment("# none\n\na.b_c=d=e\nnode.id=1\n")
    assert settings == {"KAFKA_A_B__C": "d=e", "KAFKA_NODE_ID": "1"}


def test_kafka_is_asked_for_its_brokers() -> None:
    assert kafka.metadata_request() == bytes.fromhex("0000000e 0003 0001 00000001 ffff 00000000")
    assert kafka.count_brokers(bytes.fromhex("00000001 00000002")) == 2
    for strange in (b"", b"HTTP", b"HTTP/1.1 400 Bad Request"):
        with pytest.raises(NotAnswering):
            kafka.count_brokers(strange)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"", "closed"),
        (b"\0\0", "closed"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "none of Kafka's"),
        (bytes.fromhex("00000008 00000001 00000000"), "no broker yet"),
        (bytes.fromhex("00000008 00000001 00000001"), None),
    ],
)
def test_an_open_port_is_not_yet_a_kafka(answer: bytes, reason: str | None) -> None:
    with socket.create_server((LOOPBACK, 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection, suppress(OSError):
                connection.recv(100)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        address = f"{LOOPBACK}:{server.getsockname()[1]}"
        if reason is None:
            kafka.Kafka().probe(address)
        else:
            with pytest.raises(NotAnswering, match=reason):
                kafka.Kafka().probe(address)
        thread.join()


def test_an_elasticsearch_home_has_its_module_and_keeps_its_data(tmp_path: Path) -> None:
    jar = tmp_path / "transport-netty4-8.0.0.jar"
    jar.write_text("jar")
    home = tmp_path / "home"
    for port in (21001, 21002):
        elasticsearch.lay_out_home(home, port, [jar])
        (home / "data" / "kept").touch()
    assert "http.port: 21002\n" in (home / "config" / "elasticsearch.yml").read_text()
    module = home / "modules" / "transport-netty4"
    assert (module / jar.name).read_text() == "jar"
    version = jars.version_in(elasticsearch.POM)
    assert f"elasticsearch.version={version}\n" in (module / "plugin-descriptor.properties").read_text()
    assert (home / "data" / "kept").exists()


def test_prometheus_finds_the_alertmanager_of_its_folder(tmp_path: Path) -> None:
    prometheus.send_alerts_to("https://alerts.test:9093/prefix/", tmp_path)
    assert (tmp_path / "prometheus-alertmanagers" / "alertmanager.json").read_text() == (
        '[{"targets": ["alerts.test:9093"], "labels":'
        ' {"__scheme__": "https", "__alerts_path__": "/prefix/api/v2/alerts"}}]'
    )


def test_a_container_publishes_on_loopback_alone() -> None:
    container = containers.Container("podman", "small", "image:1", {21001: 9200, 21002: 21002}, {"A": "b c"})
    assert containers.create_command(container) == (
        "podman",
        "create",
        "--name=wayside-test-small-21001",
        "--publish=127.0.0.1:21001:9200",
        "--publish=127.0.0.1:21002:21002",
        "--env=A=b c",
        "image:1",
    )


def test_containers_run_the_versions_of_the_jars(
    work: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with only_program(monkeypatch, tmp_path / "bin", ("docker", 'for a; do echo "$a"; done')):
        launches = [
            kafka.prepare_container("docker", PORTS, work),
            elasticsearch.prepare_container("docker", 21004, work),
        ]
    assert "\napache/kafka:3.9.1\n" in work.log_file("kafka-create").read_text()
    assert "\nelasticsearch:8.19.21\n" in work.log_file("elasticsearch-create").read_text()
    assert "--env=KAFKA_LISTENERS=PLAIN://0.0.0.0:21001," in work.log_file("kafka-create").read_text()
    name = "wayside-test-kafka-21001"
    assert launches[0].command == ("docker", "start", "--attach", name)
    assert launches[0].kill == ("docker", "kill", name)
    assert launches[0].remove == ("docker", "rm", "--force", "--volumes", name)
    assert launches[1].addresses == {"WAYSIDE_TEST_ELASTICSEARCH": "http://127.0.0.1:21004"}


def test_an_engine_is_chosen_only_where_java_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tools = [(tool, "exit 0") for tool in jars.TOOLS]
    with only_program(monkeypatch, tmp_path / "java", *tools, ("docker", "exit 0")):
        assert containers.choose_engine("kafka") is None
    with only_program(monkeypatch, tmp_path / "engine", ("docker", "exit 1"), ("podman", "exit 0")):
        assert containers.choose_engine("kafka") == "podman"
    with (
        only_program(monkeypatch, tmp_path / "none", ("docker", "exit 1")),
        pytest.raises(ServiceError, match=r"kafka needs java, javac, mvn .*apt-get install.*WAYSIDE_TEST_KAFKA"),
    ):
        containers.choose_engine("kafka")


def test_a_missing_package_is_named(work: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = prometheus.Alertmanager.programs[0]
    with only_program(monkeypatch, tmp_path / "none"):
        with pytest.raises(ServiceError, match=r"by hand: prometheus-alertmanager;.*WAYSIDE_TEST"):
            packages.install_missing([program], work)
        with pytest.raises(ServiceError, match="apt-get install prometheus-alertmanager"):
            packages.find_program(program)
    with only_program(monkeypatch, tmp_path / "upstream", ("alertmanager", "")):
        packages.install_missing([program], work)
        assert packages.find_program(program) == str(tmp_path / "upstream" / "alertmanager")


def test_packages_are_installed_without_a_question() -> None:
    update, install = packages.install_commands(["a", "b"], ("sudo", "-n"))
    assert update[:3] == ("sudo", "-n", "env")
    assert update[-1] == "update"
    assert install[-5:] == ("install", "-y", "--no-install-recommends", "a", "b")


def test_the_command_line_prints_lines_to_export(tmp_path: Path, work: Workspace) -> None:
    (work.folder / "-").mkdir(parents=True)
    (work.folder / "-" / "ready").touch()
    address = startup.bring_up([Small()], work, {})["WAYSIDE_TEST_SMALL"]
    told = run_launcher("up", tmp_path / "mine", "pushgateway", WAYSIDE_TEST_PUSHGATEWAY=address)
    assert told.stdout == f"WAYSIDE_TEST_PUSHGATEWAY={address}\nWAYSIDE_TEST_SERVICES_DIR={tmp_path / 'mine'}\n"
    assert "services: pushgateway: answers at" in told.stderr
    processes.stop(processes.find_all(work.folder), work.folder)


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["up", "mine", "kafak"], 2, "'kafak' is none of kafka, elasticsearch"),
        (["restart", "mine", "kafka"], 1, "kafka was not started in"),
        (["down", "mine"], 0, ""),
        ([], 2, "usage"),
    ],
)
def test_the_command_line_says_what_is_wrong(tmp_path: Path, arguments: list[str], status: int, words: str) -> None:
    told = run_launcher(*[tmp_path / word if word == "mine" else word for word in arguments])
    assert (told.returncode, told.stdout) == (status, "")
    assert words in told.stderr


@pytest.mark.parametrize("name", startup.SERVICES)
def test_the_services_that_are_there_answer(name: str, service: Callable[[str], str]) -> None:
    startup.SERVICES[name].probe(service(name.upper()))


def sasl(address: str, password: str) -> dict[str, str | int | float | bool]:
    return {
        "bootstrap.servers": address,
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "PLAIN",
        "sasl.username": kafka.USER,
        "sasl.password": password,
    }


def test_kafka_refuses_a_wrong_password(service: Callable[[str], str]) -> None:
    errors: list[KafkaError] = []
    settings = sasl(service("KAFKA_SASL"), "wrong")
    producer = Producer({**settings, "error_cb": errors.append, "log_level": 0})
    deadline = time.monotonic() + 10
    while KafkaError._AUTHENTICATION not in [error.code() for error in errors]:
        assert time.monotonic() < deadline, errors
        producer.poll(0.1)


def test_a_kafka_of_ones_own_keeps_its_records_through_a_kill(service: Callable[[str], str], tmp_path: Path) -> None:
    service("KAFKA")  # one of the test's own is started, where services are wanted at all
    told = run_launcher("up", tmp_path, "kafka")
    assert told.returncode == 0, told.stderr
    try:
        addresses = dict(line.split("=", 1) for line in told.stdout.splitlines())
        address = addresses["WAYSIDE_TEST_KAFKA"]
        admin = AdminClient({"bootstrap.servers": address})
        admin.create_topics([NewTopic("kept", 1)])["kept"].result(10)
        producer = Producer({**sasl(addresses["WAYSIDE_TEST_KAFKA_SASL"], kafka.PASSWORD), "acks": "all"})
        producer.produce("kept", b"record")
        assert producer.flush(10) == 0
        assert run_launcher("restart", tmp_path, "kafka").returncode == 0
        assert read_first(address, "kept") == b"record"
    finally:
        run_launcher("down", tmp_path)


def read_first(address: str, topic: str) -> bytes | None:
    consumer = Consumer({"bootstrap.servers": address, "group.id": "own"})
    consumer.assign([TopicPartition(topic, 0, 0)])
    message = consumer.poll(20)
    consumer.close()
    return message.value() if message is not None else None
