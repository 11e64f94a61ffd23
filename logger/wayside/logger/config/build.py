"""The settings that parsed flags stand for.

Invariant: what comes out can be used as it is; what contradicts itself, or no logger can do, is a `ConfigurationError`
that names the flag.
"""

import argparse
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from wayside.eventing.errors import ConfigurationError
from wayside.eventing.vocabulary import ServiceKey
from wayside.logger.config.destination import check_log_url, takes_files
from wayside.logger.config.options import CA_FOLDER, MARSHALLER_URL
from wayside.logger.config.revision import revision_of
from wayside.logger.config.values import annotation_pairs, header_names
from wayside.logger.emit.http_address import HttpAddress
from wayside.logger.redaction.rules import parse_rule
from wayside.logger.settings import (
    Batching,
    Capture,
    Delivery,
    Identity,
    Listen,
    LoggerSettings,
    LogMode,
    Oversize,
    Redacted,
    Sampling,
    SideWork,
    SpoolSettings,
    SpoolWhenFull,
    Store,
    StoreFormat,
    Upstream,
)

ANNOTATION_PREFIX = "logger.wayside.dev/"
PROCESS_LIMIT = 64
WORKER_LIMIT = 4096
_GRACE_LIMIT_S = 3600
_FILE_WAITS_S = 60.0  # KServe's agent would wait for ever; what waits for ever is lost in the end
_LOCAL = ("localhost", "127.0.0.1")


def settings_of(arguments: argparse.Namespace, environ: Mapping[str, str]) -> LoggerSettings:
    """Raises `ConfigurationError`."""
    _check_numbers(arguments)
    return LoggerSettings(
        listen=Listen(arguments.host, arguments.port, arguments.admin_host, arguments.admin_port),
        upstream=Upstream(arguments.component_host, arguments.component_port),
        capture=_capture(arguments),
        identity=_identity(arguments, environ),
        delivery=_delivery(arguments),
        side_work=_side_work(arguments),
        processes=arguments.processes,
        grace_s=arguments.grace,
        quiet_s=arguments.quiet_period,
        readiness_probe=environ.get("SERVING_READINESS_PROBE", ""),
    )


def is_setting(annotation: str) -> bool:
    """Whether an annotation is a setting of ours, and does not travel; Kubernetes takes its prefix in any case."""
    return annotation.lower().startswith(ANNOTATION_PREFIX)


def _check_numbers(arguments: argparse.Namespace) -> None:
    if not 0 < arguments.component_port < 65_536:
        raise ConfigurationError(f"--component-port {arguments.component_port} is not a port (1-65535)")
    for name in ("workers", "pipeline", "queue_events", "queue_bytes", "capture_total", "batch_events"):
        if getattr(arguments, name) < 1:
            raise ConfigurationError(f"--{name.replace('_', '-')} must be above 0")
    if arguments.workers > WORKER_LIMIT:
        raise ConfigurationError(f"--workers must be 1 to {WORKER_LIMIT}")
    if not 0.01 <= arguments.send_timeout <= 900:  # what Kafka's client takes; no number lies between nan's bounds
        raise ConfigurationError("--send-timeout must be 0.01 to 900 seconds")
    if not (0 <= arguments.grace <= _GRACE_LIMIT_S and 0 <= arguments.quiet_period <= _GRACE_LIMIT_S):
        raise ConfigurationError(f"--grace and --quiet-period must be 0 to {_GRACE_LIMIT_S} seconds")
    if not 0 <= arguments.batch_interval <= _GRACE_LIMIT_S:
        raise ConfigurationError(f"--batch-interval must be 0 to {_GRACE_LIMIT_S} seconds")
    if not 1 <= arguments.processes <= PROCESS_LIMIT:
        raise ConfigurationError(f"--processes must be 1 to {PROCESS_LIMIT}")


def _capture(arguments: argparse.Namespace) -> Capture:
    compatible = arguments.compat == "kserve"
    return Capture(
        mode=LogMode(arguments.log_mode or "all"),
        body_bytes=arguments.max_body_bytes,
        oversize=Oversize(arguments.oversize),
        total_bytes=arguments.capture_total,
        metadata_headers=header_names(arguments.metadata_headers, as_written=compatible),
        sampling=_sampling(arguments),
        kserve_compatible=compatible,
    )


def _sampling(arguments: argparse.Namespace) -> Sampling:
    sampling: Sampling = replace(arguments.sample, by_status=arguments.sample_status, key=arguments.sample_key)
    if sampling.per_second is not None and sampling.by_status:
        raise ConfigurationError("--sample-status goes with a share, --sample 10%, and not with a rate")
    return sampling


def _identity(arguments: argparse.Namespace, environ: Mapping[str, str]) -> Identity:
    service = ServiceKey(arguments.namespace, arguments.inference_service, arguments.component, arguments.endpoint)
    pairs = annotation_pairs(arguments.metadata_annotations)
    return Identity(
        source=arguments.source_uri or f"http://localhost:{arguments.port}/",
        service=service,
        annotations={key: value for key, value in pairs.items() if not is_setting(key)},
        revision=arguments.revision or revision_of(environ, arguments.source_uri),
    )


def _delivery(arguments: argparse.Namespace) -> Delivery:
    url = check_log_url(arguments.log_url) if arguments.log_url else ""
    store = _store(arguments) if url and takes_files(url, arguments.log_store_path) else None
    return Delivery(
        url=url,
        workers=arguments.workers,
        timeout_s=arguments.send_timeout,
        queue_events=arguments.queue_events,
        queue_bytes=arguments.queue_bytes,
        ca_file=CA_FOLDER / arguments.logger_ca_cert_file,
        tls_skip_verify=arguments.logger_tls_skip_verify,
        kafka_config=arguments.kafka_config,
        spool=_spool(arguments),
        batching=_batching(arguments, store),
        store=store,
        raw_values=arguments.compat == "kserve",
        pipeline=arguments.pipeline,
    )


def _store(arguments: argparse.Namespace) -> Store:
    return Store(
        path=arguments.log_store_path,
        format=_store_format(arguments.log_store_format),
        marshaller_url=_marshaller(arguments),
        kserve_compatible=arguments.compat == "kserve",
    )


def _store_format(text: str) -> StoreFormat:
    """JSON for every word that is no format, as KServe's agent has it."""
    return StoreFormat(text) if text in tuple(StoreFormat) else StoreFormat.JSON


def _marshaller(arguments: argparse.Namespace) -> str:
    """Nothing where the URL leads to the agent's own marshaller: the logger makes the same bytes without a port."""
    url = arguments.log_marshaller_url
    if url in ("", MARSHALLER_URL):
        return ""
    address = HttpAddress.parse(url)
    own = address.host in _LOCAL and address.port == arguments.log_marshaller_port
    return "" if own else address.text


def _batching(arguments: argparse.Namespace, store: Store | None) -> Batching:
    """KServe's batches are of files alone: its agent passes over them where events are messages."""
    if store is None or arguments.batch_events > 1:
        return Batching(arguments.batch_events, arguments.batch_interval)
    if arguments.log_batch_size <= 1:
        return Batching()
    return Batching(arguments.log_batch_size, arguments.log_batch_interval or _FILE_WAITS_S)


def _spool(arguments: argparse.Namespace) -> SpoolSettings | None:
    if not arguments.spool:
        return None
    if not arguments.log_url:
        raise ConfigurationError("--spool needs a --log-url: without one nothing is captured")
    if arguments.spool_limit < arguments.processes << 20:
        raise ConfigurationError("--spool-limit must be 1Mi or more for each of --processes")
    return SpoolSettings(Path(arguments.spool), arguments.spool_limit, SpoolWhenFull(arguments.spool_when_full))


def _side_work(arguments: argparse.Namespace) -> SideWork:
    rules = tuple(map(parse_rule, arguments.redact))
    if any(rule.left is Redacted.HASH for rule in rules) and arguments.redact_key_file is None:
        raise ConfigurationError("--redact …=hash needs a --redact-key-file that holds the key of the hashes")
    return SideWork(rules, arguments.redact_key_file, compress=arguments.compress == "gzip")
