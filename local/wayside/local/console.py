"""What a person sees on the terminal while processes start: a live display there, plain lines anywhere else.

Invariant: every step is told once, in either form, so that a log of a run reads like the terminal did.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn


class Steps:
    """A count of steps with a bar on a terminal and a line a step elsewhere."""

    def __init__(self, console: Console, title: str, total: int) -> None:
        self._console = console
        self._title = title
        self._total = total
        self._done = 0
        self._bar: Progress | None = None

    @contextmanager
    def showing(self) -> Iterator["Steps"]:
        """Show the steps while the block runs."""
        if not self._console.is_terminal:
            yield self
            return
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        with Progress(*columns, TimeElapsedColumn(), console=self._console) as self._bar:
            self._task = self._bar.add_task(self._title, total=self._total)
            yield self

    def done(self, what: str) -> None:
        """One step is done."""
        self._done += 1
        if self._bar is None:
            self._console.print(f"{self._title}: {what} ({self._done}/{self._total})", markup=False, highlight=False)
        else:
            self._bar.update(self._task, advance=1, description=f"{self._title}: {what}")
