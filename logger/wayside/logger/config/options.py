"""Every flag: KServe's agent's, and ours; and which of them a namespace and a service may set.

Source: kserve/kserve cmd/agent/main.go at aaac4e294.
Invariant: every flag of the agent is known here with its default; docs/logger.md has a row for each.
"""

import argparse
from pathlib import Path

from wayside.eventing.command import Parser, parse_bool, parse_port, parse_size
from wayside.logger.config.tokens import SWITCH
from wayside.logger.config.values import (
    parse_count,
    parse_duration_s,
    parse_header_name,
    parse_place,
    parse_sample,
    parse_statuses,
)
from wayside.logger.settings import Oversize, SpoolWhenFull

CA_FOLDER = Path("/etc/tls/logger")
SETTINGS_FILE = "wayside.yaml"
KSERVE_AGENT = "/usr/local/bin/kserve-agent"
MARSHALLER_URL = "http://localhost:9083/marshal"
LISTS = frozenset({"redact"})  # flags that may be given several times, and add up

# What one InferenceService may set by annotations: what is captured and how much, never where it goes
SERVICE_SETTINGS = frozenset(
    {
        *("sample", "sample-key", "sample-status", "max-body-bytes", "oversize", "redact", "compress", "compat"),
        *("capture-total", "queue-events", "queue-bytes", "batch-events", "batch-interval", "workers", "pipeline"),
        *("send-timeout", "spool", "spool-limit", "spool-when-full", "quiet-period", "grace", "processes", "revision"),
    }
)
# What the file in the CA ConfigMap may set for a namespace: names of files besides
NAMESPACE_SETTINGS = SERVICE_SETTINGS | {"redact-key-file", "kafka-config"}


def parser() -> argparse.ArgumentParser:
    """The command line of the logger."""
    words = "A proxy before a model server that captures on the side."
    made = Parser(prog="wayside logger", description=words, allow_abbrev=False)
    _add_agent_flags(made.add_argument_group("as KServe's agent"))
    _add_agent_storage(made.add_argument_group("as KServe's agent: files instead of messages"))
    _add_other_duties(made.add_argument_group("KServe's agent's other duties, for which it is run instead"))
    _add_capture(made.add_argument_group("Wayside's own: what is captured"))
    _add_delivery(made.add_argument_group("Wayside's own: delivery"))
    _add_process(made.add_argument_group("Wayside's own: the process"))
    return made


def _add_agent_flags(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--port", type=parse_port, default=9081, help="where clients connect (9081)")
    add("--component-port", type=parse_count, default=8080, help="the model server's port (8080)")
    add(
        "--log-url", default="", help="http(s)://, kafka://host:9092/topic, s3://, gs://, abfs://, file:///dir, stdout:"
    )
    add("--workers", type=parse_count, default=16, help="connections to the log url (16)")
    add("--source-uri", default="", help="the events' source (http://localhost:PORT/)")
    add("--log-mode", default="all", choices=["", "all", "request", "response"], help="what is captured (all)")
    for name in ("inference-service", "namespace", "endpoint", "component"):
        add(f"--{name}", default="", help=f"the events' {name.replace('-', ' ')}")
    for name, words in (
        ("headers", "request headers that travel as"),
        ("annotations", "key=value pairs that travel as"),
    ):
        add(f"--metadata-{name}", action="append", default=[], help=f"{words} metadata, with commas")
    add("--logger-ca-cert-file", default="service-ca.crt", help=f"a CA file in {CA_FOLDER} for an https log url")
    add("--logger-tls-skip-verify", type=parse_bool, nargs=SWITCH, const=True, default=False, help="true or false")
    add("--probe-period", default="-1", help=argparse.SUPPRESS)


def _add_agent_storage(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--log-store-path", default="", help="the folder of the files, below the log url's")
    add("--log-store-format", default="json", help="json, csv or parquet (json)")
    add("--log-batch-size", type=parse_count, default=1, help="records in a file (1)")
    add("--log-batch-interval", type=parse_duration_s, default="0", help="how long a file waits for them: 5s (0)")
    add("--log-marshaller-url", default=MARSHALLER_URL, help="a service that makes the files' bytes (none: the logger)")
    add("--log-marshaller-port", type=parse_count, default=9083, help="of KServe's own marshaller, which is in here")


def _add_other_duties(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    for name in ("enable-puller", "enable-batcher"):
        add(f"--{name}", type=parse_bool, nargs=SWITCH, const=True, default=False, help="true or false")
    for name, default in (
        *(("config-dir", "/mnt/configs"), ("model-dir", "/mnt/models")),
        *(("max-batchsize", "32"), ("max-latency", "5000")),
    ):
        add(f"--{name}", default=default, help=argparse.SUPPRESS)
    add("--kserve-agent", default=KSERVE_AGENT, metavar="FILE", help=f"KServe's agent ({KSERVE_AGENT})")


def _add_capture(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--max-body-bytes", type=parse_size, default="10Mi", help="the most that is captured of a body (10Mi)")
    oversize = [choice.value for choice in Oversize]
    add("--oversize", choices=oversize, default=oversize[0], help="what becomes of larger bodies (truncate)")
    add("--capture-total", type=parse_size, default="128Mi", help="bytes of unfinished copies (128Mi)")
    add("--sample", type=parse_sample, default="100%", help="10%% of the requests, or 100/s at most (100%%)")
    add("--sample-key", type=parse_header_name, default="", help="requests that agree in this header are all in or out")
    add("--sample-status", type=parse_statuses, default="", help="shares by the answer: 500-599=100%%,200=1%%")
    add("--redact", action="append", default=[], metavar="RULE", help="pointer:/instances/*/ssn=mask; may be repeated")
    add("--redact-key-file", type=Path, metavar="FILE", help="the key of hashes that stand for values")
    add(
        "--compat", choices=["", "kserve"], default="", help="kserve: events as its agent makes them, mistakes included"
    )
    add("--revision", default="", help="the events' revision (Knative's, else by the pod's name)")


def _add_delivery(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--compress", choices=["", "gzip"], default="", help="gzip: events' bodies are compressed")
    add("--batch-events", type=parse_count, default=1, help="events in one message (1)")
    add("--batch-interval", type=float, default=0.0, help="seconds that the first of them waits for others (0)")
    add("--queue-events", type=parse_count, default=100_000, help="events that may wait to be sent (100000)")
    add("--queue-bytes", type=parse_size, default="64Mi", help="bytes that may wait to be sent (64Mi)")
    add("--pipeline", type=parse_count, default=16, help="posts that may share a connection to a quick sink (16)")
    add("--send-timeout", type=float, default=10.0, help="seconds that one post may take (10)")
    add("--kafka-config", type=Path, metavar="FILE", help="librdkafka's settings (SASL, TLS) for a kafka:// log url")
    add("--spool", default="", metavar="DIR", help="a folder where events wait that cannot be sent")
    add("--spool-limit", type=parse_size, default="1Gi", help="bytes that may wait in the spool (1Gi)")
    policies = [policy.value for policy in SpoolWhenFull]
    add("--spool-when-full", choices=policies, default=policies[0], help=f"({policies[0]})")


def _add_process(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--host", default="0.0.0.0", help="where clients connect (every interface, as a sidecar must)")
    add("--component-host", default="127.0.0.1", help="the model server's host (127.0.0.1)")
    add("--admin-host", default="127.0.0.1", help="of health, readiness and metrics (127.0.0.1)")
    add("--admin-port", type=parse_port, default=9082, help="of health, readiness and metrics (9082)")
    add("--processes", type=parse_count, default=1, help="processes that share the port (1)")
    add("--quiet-period", type=float, default=5.0, help="seconds of the grace that it still takes connections (5)")
    add("--grace", type=float, default=25.0, help="seconds from SIGTERM to the end (25)")
    add("--settings-file", type=Path, metavar="FILE", help=f"a namespace's settings ({CA_FOLDER}/{SETTINGS_FILE})")
    add("--process", type=parse_place, default="", help=argparse.SUPPRESS)
