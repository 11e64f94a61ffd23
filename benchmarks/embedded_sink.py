"""Events a second into the embedded record sink, and CPU time an event: one-row V1 requests with their responses.

`--against FOLDER` measures another checkout's sink in the same run, in turn with this one's, each in a process of its
own; what counts is the ratio, because the machine is shared and its disk has moods.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median
from uuid import uuid4

from prometheus_client import CollectorRegistry
from rich.console import Console
from rich.table import Table

from wayside.eventing.clock import format_time
from wayside.eventing.event import CloudEvent
from wayside.eventing.vocabulary import REQUEST, REQUEST_TIME, RESPONSE, ServiceKey
from wayside.sinks.embedded.sink import RecordSink

HERE = Path(__file__).resolve()
FOLDERS = ("eventing", "logger", "detectors", "sinks", "local")
BODIES = (b'{"instances":[[6.8,2.8,4.8,1.4]]}', b'{"predictions":[1]}')


def inference() -> Sequence[CloudEvent]:
    """A request and its response, with what the logger says on them."""
    name, moment = str(uuid4()), format_time(time.time_ns())
    told = ServiceKey("default", "bench", "predictor", "").extensions()
    known = {**told, REQUEST_TIME: moment}
    request, answer = BODIES
    return (
        CloudEvent(name, "bench", REQUEST, request, moment, "application/json", extensions=told),
        CloudEvent(name, "bench", RESPONSE, answer, format_time(time.time_ns()), "application/json", extensions=known),
    )


async def measure(inferences: int, writers: int) -> tuple[float, float]:
    """Events a second, and CPU microseconds an event of the whole process; a writer sends once its last is stored."""
    with tempfile.TemporaryDirectory() as folder:
        sink = RecordSink(Path(folder) / "records.sqlite", CollectorRegistry())
        await sink.start()
        every = [inference() for _ in range(inferences)]
        waiting = iter(every)
        began_s, began_cpu_s = time.perf_counter(), time.process_time()
        await asyncio.gather(*(_write(sink, waiting) for _ in range(writers)))
        elapsed_s, cpu_s = time.perf_counter() - began_s, time.process_time() - began_cpu_s
        await sink.stop()
    return 2 * inferences / elapsed_s, cpu_s / (2 * inferences) * 1e6


async def _write(sink: RecordSink, waiting: Iterable[Sequence[CloudEvent]]) -> None:
    for pair in waiting:
        for event in pair:
            await sink.send(event)


def measure_apart(checkout: Path, flags: argparse.Namespace) -> tuple[float, float]:
    """As `measure`, of a checkout's sink, in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(str(checkout / folder) for folder in FOLDERS)}
    command = [sys.executable, str(HERE), "--once", "--inferences", str(flags.inferences)]
    command += ["--writers", str(flags.writers)]
    told = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE).stdout
    rate, cpu_us = json.loads(told)
    return rate, cpu_us


def compare(checkouts: Sequence[Path], flags: argparse.Namespace) -> Table:
    rounds = [[measure_apart(checkout, flags) for checkout in checkouts] for _ in range(flags.rounds)]
    table = Table("checkout", "events/s", "CPU µs an event", title=f"{flags.rounds} rounds, medians")
    for checkout, runs in zip(checkouts, zip(*rounds, strict=True), strict=True):
        rate, cpu_us = (median(column) for column in zip(*runs, strict=True))
        table.add_row(str(checkout), f"{rate:,.0f}", f"{cpu_us:.0f}")
    if len(checkouts) > 1:
        ratios = [[own / other for own, other in zip(*each, strict=True)] for each in rounds]
        rate_ratio, cpu_ratio = (median(column) for column in zip(*ratios, strict=True))
        table.add_row("the first by the second", f"{rate_ratio:.2f}", f"{cpu_ratio:.2f}")
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inferences", type=int, default=10_000)
    parser.add_argument("--writers", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--against", type=Path, help="another checkout of this repository")
    parser.add_argument("--once", action="store_true", help="one round here, as a JSON line")
    flags = parser.parse_args()
    if flags.once:
        print(json.dumps(asyncio.run(measure(flags.inferences, flags.writers))))
        return
    checkouts = [HERE.parents[1], *([flags.against] if flags.against else [])]
    Console().print(compare(checkouts, flags))


if __name__ == "__main__":
    main()
