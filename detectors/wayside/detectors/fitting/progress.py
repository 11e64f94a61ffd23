"""How a fit gets on, on stderr: bars on a terminal, where the extra `fit` is installed, and plain lines elsewhere.

Invariant: nothing of it goes to stdout, and a terminal is left as it was.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from wayside.detectors.kinds.protocol import Progress
from wayside.eventing.clock import Clock

_EVERY_S = 2.0


@contextmanager
def shown_progress(clock: Clock) -> Iterator[Progress]:
    """What a fit tells its progress to, while the block runs."""
    if sys.stderr.isatty():
        try:
            with _bars() as bars:
                yield bars
                return
        except ModuleNotFoundError as exc:
            if exc.name != "rich":
                raise
    yield lines(clock)


def lines(clock: Clock) -> Progress:
    """A line every two seconds; none for a fit that is done before."""
    last_s = clock.monotonic_s()

    def show(stage: str, done: int, total: int) -> None:
        nonlocal last_s
        if clock.monotonic_s() - last_s >= _EVERY_S:
            last_s = clock.monotonic_s()
            print(f"wayside fit: {stage}, {done} of {total}", file=sys.stderr, flush=True)

    return show


@contextmanager
def _bars() -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        tasks: dict[str, TaskID] = {}

        def show(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total)
            bars.update(tasks[stage], completed=done, total=total)

        yield show
