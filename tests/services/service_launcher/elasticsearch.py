"""Elasticsearch: one node from its published jars, without optional modules, or from its image.

Invariant: it is ready when the cluster's health is at least yellow. From jars it has no scripts, no index lifecycle, no
security and no `GET /`; documents, bulk requests, searches, aggregations and templates are the real ones.
"""

import shutil
from pathlib import Path
from string import Template

from service_launcher import containers, jars
from service_launcher.network import LOOPBACK, free_port, probe_http
from service_launcher.workspace import DEFINITIONS, Launch, Program, Workspace, variable

_OWN = DEFINITIONS / "elasticsearch"
POM = _OWN / "pom.xml"
_MODULE = "transport-netty4"
_PORT_INSIDE = 9200


class Elasticsearch:
    """Elasticsearch from its published jars, or from its image."""

    name = "elasticsearch"
    programs: tuple[Program, ...] = ()

    def prepare(self, work: Workspace) -> Launch:
        port = free_port()
        engine = containers.choose_engine(self.name)
        return prepare_container(engine, port, work) if engine else prepare_process(port, work)

    def probe(self, address: str) -> None:
        probe_http(f"{address.rstrip('/')}/_cluster/health?wait_for_status=yellow&timeout=1s")


def prepare_process(port: int, work: Workspace) -> Launch:
    """Lay out a node's home and say how to run it."""
    libraries = sorted(jars.fetch_jars(POM, "elasticsearch", work).glob("*.jar"))
    classes = jars.compile_class(_OWN / "TestNode.java", POM, "elasticsearch", work)
    home = work.folder / "elasticsearch"
    # No jar may be seen twice, by the node and by its module: Elasticsearch refuses that.
    lay_out_home(home, port, [jar for jar in libraries if "netty" in jar.name])
    core = [str(jar) for jar in libraries if "netty" not in jar.name]
    flags = ("-Xms512m", "-Xmx512m", f"-Djava.io.tmpdir={home / 'tmp'}")
    command = ("java", *jars.QUICK_START, *flags, "-cp", ":".join([str(classes), *core]), "TestNode", str(home))
    return Launch("elasticsearch", command, _addresses(port))


def prepare_container(engine: str, port: int, work: Workspace) -> Launch:
    """Make a container of the same version, without security as the node from jars is."""
    environment = {
        "discovery.type": "single-node",
        "xpack.security.enabled": "false",
        "cluster.routing.allocation.disk.threshold_enabled": "false",
        "ES_JAVA_OPTS": "-Xms512m -Xmx512m",
    }
    image = f"elasticsearch:{jars.version_in(POM)}"
    container = containers.Container(engine, "elasticsearch", image, {port: _PORT_INSIDE}, environment)
    return containers.prepare(container, _addresses(port), work)


def lay_out_home(home: Path, port: int, module_jars: list[Path]) -> None:
    """Write a node's configuration, and its one module as the distribution holds it; data that is there stays."""
    for part in ("config", "data", "logs", "plugins", "tmp"):
        (home / part).mkdir(parents=True, exist_ok=True)
    config = Template((_OWN / "elasticsearch.yml").read_text()).substitute(port=port)
    (home / "config" / "elasticsearch.yml").write_text(config)
    shutil.copy(_OWN / "log4j2.properties", home / "config")
    module = home / "modules" / _MODULE
    shutil.rmtree(module, ignore_errors=True)
    module.mkdir(parents=True)
    for jar in module_jars:
        (module / jar.name).symlink_to(jar)
    (module / "plugin-descriptor.properties").write_text(describe_module(jars.version_in(POM)))


def describe_module(version: str) -> str:
    """The descriptor that Elasticsearch wants beside a module's jars."""
    return (
        f"name={_MODULE}\ndescription=HTTP and transport by Netty\nversion={version}\nelasticsearch.version={version}\n"
        "java.version=17\nclassname=org.elasticsearch.transport.netty4.Netty4Plugin\n"
    )


def _addresses(port: int) -> dict[str, str]:
    return {variable("elasticsearch"): f"http://{LOOPBACK}:{port}"}
