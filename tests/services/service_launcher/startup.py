"""Bringing services up side by side, taking them down, and restarting one as after a crash.

Invariant: `bring_up` either returns with every service answering, or has stopped all that it started.
"""

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait

from service_launcher import packages, processes
from service_launcher.elasticsearch import Elasticsearch
from service_launcher.kafka import Kafka
from service_launcher.processes import Running
from service_launcher.prometheus import Alertmanager, Prometheus, Pushgateway, send_alerts_to
from service_launcher.s3 import S3
from service_launcher.workspace import Cancelled, NotAnswering, Service, ServiceError, Workspace, say, tail, variable

SERVICES: Mapping[str, Service] = {
    service.name: service for service in (Kafka(), Elasticsearch(), Prometheus(), Alertmanager(), Pushgateway(), S3())
}
_POLL_S = 0.1
_PROGRESS_S = 3.0
_GIVEN_S = 15.0


def bring_up(services: Sequence[Service], work: Workspace, environment: Mapping[str, str]) -> dict[str, str]:
    """Addresses of all services: given by the environment and checked, running in this folder already, or started now.

    Raises `ServiceError` where one cannot be had, after stopping what this call started.
    """
    work.folder.mkdir(parents=True, exist_ok=True)
    addresses: dict[str, str] = {}
    absent: list[Service] = []
    for service in services:
        found = given_addresses(service, environment) or _running_addresses(service, work)
        if found:
            wait_answer(service, found[variable(service.name)], work, limit_s=_GIVEN_S)
            addresses |= found
        else:
            absent.append(service)
    if (alertmanager := addresses.get(variable("alertmanager"))) is not None:
        send_alerts_to(alertmanager, work.folder)
    packages.install_missing([program for service in absent for program in service.programs], work)
    return addresses | _start_all(absent, work)


def given_addresses(service: Service, environment: Mapping[str, str]) -> dict[str, str]:
    """What the environment says of a service: its address and what goes with it, or nothing without an address."""
    own = variable(service.name)
    if not environment.get(own):
        return {}
    return {key: value for key, value in environment.items() if key == own or key.startswith(f"{own}_")}


def restart(service: Service, work: Workspace) -> dict[str, str]:
    """Kill a service as a crash would, if it runs, and start it at the same port with the same data."""
    running = _started(service, work)
    processes.kill(running)
    again = processes.spawn(running.launch, work)
    wait_answer(service, again.launch.addresses[variable(service.name)], work, again)
    return dict(again.launch.addresses)


def kill(service: Service, work: Workspace) -> None:
    """Kill a service as a crash would; `restart` brings it back."""
    processes.kill(_started(service, work))


def wait_answer(
    service: Service, address: str, work: Workspace, running: Running | None = None, limit_s: float | None = None
) -> None:
    """Wait until a service answers at its address, saying so every few seconds.

    Raises `ServiceError` where it ends or the limit passes, with the end of its log where it is ours; `Cancelled`.
    """
    began = said = time.monotonic()
    limit_s = limit_s or work.limit_s
    while (reason := _why_silent(service, address)) is not None:
        waited_s = time.monotonic() - began
        _check_alive(running, work)
        if waited_s > limit_s:
            ours = f"; {tail(work.log_file(service.name))}" if running is not None else ""
            raise ServiceError(f"{service.name}: no answer at {address} in {limit_s:g} s: {reason}{ours}")
        if time.monotonic() - said > _PROGRESS_S:
            said = time.monotonic()
            say(f"{service.name}: waiting for an answer at {address}: {reason} ({waited_s:.0f} s of {limit_s:g} s)")
        if work.cancelled.wait(_POLL_S):
            raise Cancelled(service.name)
    _check_alive(running, work)  # whoever answered, it must have been ours
    say(f"{service.name}: answers at {address} after {time.monotonic() - began:.1f} s")


def _check_alive(running: Running | None, work: Workspace) -> None:
    if running is not None and not running.alive:
        name = running.launch.name
        raise ServiceError(f"{name}: ended before it answered; {tail(work.log_file(name))}")


def _why_silent(service: Service, address: str) -> str | None:
    try:
        service.probe(address)
    except NotAnswering as exc:
        return str(exc)
    return None


def _start_all(services: Sequence[Service], work: Workspace) -> dict[str, str]:
    """Start services side by side. The first failure, or an interrupt, ends the others' waiting and stops them all."""
    if not services:
        return {}
    addresses: dict[str, str] = {}
    with ThreadPoolExecutor(len(services)) as pool:
        try:
            starts = [pool.submit(_start, service, work) for service in services]
            failures = [start.exception() for start in wait(starts, return_when=FIRST_EXCEPTION).done]
            for failure in filter(None, failures):
                raise failure
            for start in starts:
                addresses |= start.result()
        except BaseException:
            work.cancelled.set()
            pool.shutdown()
            own = [processes.find(work.folder, service.name) for service in services]
            processes.stop(filter(None, own), work.folder)
            raise
    return addresses


def _start(service: Service, work: Workspace) -> dict[str, str]:
    began = time.monotonic()
    if (left_over := processes.find(work.folder, service.name)) is not None:
        processes.stop([left_over], work.folder)
    launch = service.prepare(work)
    say(f"{service.name}: prepared in {time.monotonic() - began:.1f} s, starting")
    running = processes.spawn(launch, work)
    wait_answer(service, launch.addresses[variable(service.name)], work, running)
    return dict(launch.addresses)


def _running_addresses(service: Service, work: Workspace) -> dict[str, str]:
    running = processes.find(work.folder, service.name)
    return dict(running.launch.addresses) if running is not None and running.alive else {}


def _started(service: Service, work: Workspace) -> Running:
    running = processes.find(work.folder, service.name)
    if running is None:
        raise ServiceError(f"{service.name} was not started in {work.folder}: run `up {work.folder} {service.name}`")
    return running
