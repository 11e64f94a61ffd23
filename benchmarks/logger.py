"""The payload logger beside KServe's agent (KSERVE_AGENT names its binary), in one run, each on one core."""

import argparse
import os
import platform
import resource
import shlex
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from logger_cases import BODIES, LARGE_BYTES, REDACT_FLAGS, SMALL_BYTES, Cases
from logger_load import payload, people
from logger_peers import PORTS, Ports, bad_sink, make_certificate, model_servers, nginx, sink_servers
from logger_programs import Unusable, kserve_agent, pins, wayside
from logger_runs import Runs, Settings
from logger_tables import COLUMNS, Row, markdown, named_once, summary
from rich.console import Console
from rich.table import Table

GROUPS = ("throughput", "https", "sinks", "redaction")
_NEEDED = ("nginx", "wrk", "openssl", "taskset")
_WIDTH = 140  # characters, where no terminal tells
_QUICK_S = 3.0


def main() -> None:
    arguments = _parser().parse_args()
    if missing := [name for name in _NEEDED if shutil.which(name) is None]:
        print(f"no {', '.join(missing)}: apt-get install nginx-light wrk openssl util-linux", file=sys.stderr)
        raise SystemExit(2)
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))  # for everybody alike: it is inherited
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is stopped
    with tempfile.TemporaryDirectory(prefix="wayside-bench-") as folder:
        try:
            measure(arguments, Path(folder))
        except (Unusable, ValueError) as error:
            raise SystemExit(f"bench: {error}") from error


def measure(arguments: argparse.Namespace, folder: Path) -> None:
    """Set the stage, run the groups that were asked for, and print each as it is done."""
    settings = _settings(arguments, folder)
    binary = os.environ.get("KSERVE_AGENT", "")
    programs = [wayside(settings.ports), *([kserve_agent(binary, settings.ports)] if binary else [])]
    runs = Runs(settings, BODIES, _teller(time.monotonic()))
    groups = _groups(Cases(runs, programs), shlex.split(arguments.redact_flags))
    show = _markdown if arguments.markdown else _table
    each = f"{settings.seconds:g} s a case"
    print(f"{platform.machine()}, {os.cpu_count()} cores, {each}; the agent: {binary or 'not given'}\n", flush=True)
    taken: list[Row] = []
    write_bodies(folder)
    settings.ports.check_free()
    with stage(settings):
        for name in arguments.only or GROUPS:
            rows = list(groups[name]())
            show(name, rows)
            taken += rows
    print("\n".join((summary(taken), *(f"  note: {note}" for note in runs.notes))))


def _settings(arguments: argparse.Namespace, folder: Path) -> Settings:
    seconds = _QUICK_S if arguments.quick else arguments.seconds
    return Settings(Ports(arguments.ports), folder, *pins(os.cpu_count() or 1), seconds, arguments.memory_limit << 30)


def _groups(cases: Cases, redact_flags: Sequence[str]) -> Mapping[str, Callable[[], Iterable[Row]]]:
    methods = (cases.throughput, cases.https, cases.sinks, lambda: cases.redaction(redact_flags))
    return dict(zip(GROUPS, methods, strict=True))


@contextmanager
def stage(settings: Settings) -> Iterator[None]:
    """Model, sink, and sinks that misbehave, on the cores of the load."""
    ports, folder, pin = settings.ports, settings.folder, settings.pin_load
    make_certificate(folder)
    python = (*pin, sys.executable, str(Path(__file__).with_name("logger_sinks.py")))
    with ExitStack() as stack:
        answers = [payload(length) for length in BODIES]
        stack.enter_context(nginx(pin, model_servers(ports, answers, folder), folder, "model"))
        stack.enter_context(nginx(pin, sink_servers(ports, folder), folder, "sink"))
        for kind in ("slow", "hanging"):
            stack.enter_context(bad_sink((*python, kind), ports.of(kind)))
        yield


def write_bodies(folder: Path) -> None:
    """The files that the loads post."""
    for length in BODIES:
        (folder / f"body-{length}").write_bytes(payload(length))
    (folder / "small").write_bytes(people(SMALL_BYTES))
    (folder / "large").write_bytes(people(LARGE_BYTES))


def _teller(began: float) -> Callable[[str], None]:
    def tell(line: str) -> None:
        print(f"[{time.monotonic() - began:5.0f} s] {line}", file=sys.stderr, flush=True)

    return tell


def _table(title: str, rows: Iterable[Row]) -> None:
    console = Console()
    console.width = max(console.width, _WIDTH)
    table = Table(title=title, title_justify="left")
    for number, column in enumerate(COLUMNS):
        table.add_column(column, justify="right" if number > 1 else "left")
    for line in named_once(list(rows)):
        if line[0] and table.row_count:
            table.add_section()
        table.add_row(*line)
    console.print(table)


def _markdown(title: str, rows: Iterable[Row]) -> None:
    print(markdown(title.capitalize(), list(rows)), flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--seconds", type=float, default=20.0, help="of load in each case (default: 20)")
    add("--quick", action="store_true", help=f"{_QUICK_S:g} s a case: to see that it works")
    add("--only", choices=GROUPS, action="append", help="measure this group; may be repeated")
    add("--markdown", action="store_true", help="tables for docs/performance.md")
    add("--redact-flags", default=REDACT_FLAGS, help=f"what turns redaction on (default: {REDACT_FLAGS!r})")
    add(
        "--memory-limit", type=int, default=6, metavar="GIB", help="resident memory at which a load is cut (default: 6)"
    )
    add("--ports", type=int, default=18600, help=f"the first of {PORTS} that are free (default: 18600)")
    return parser


if __name__ == "__main__":
    main()
