"""What `wayside events` does, page by page and step by step.

Invariant: memory holds one page, or what `tail` begins with. A replay's times are fixed by its first step, so that it
ends though events flow.
"""

import asyncio
import json
import select
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wayside.eventing.broker.events.output import (
    EventView,
    Table,
    counted,
    full_line,
    json_line,
    redeliver_words,
    replay_words,
)
from wayside.eventing.broker.events.source import (
    PAGE_ROWS,
    REPLAY_COUNTS,
    AdminSource,
    EventSource,
    StoreSource,
    Wanted,
)
from wayside.eventing.command import EXIT_FAILED, run_until_signalled
from wayside.eventing.stdout_lines import print_lines

_POLL_S = 0.5
_PROGRESS_S = 2.0
# of what an admin port shows in part, and what is then missing
_MARKS = {"data_left_out": "data", "attributes_cut": "text of the attributes"}


@dataclass(frozen=True, slots=True)
class Form:
    """How a list is shown: whole events, in which order, how many at most."""

    full: bool = False
    newest_first: bool = False
    limit: int | None = None


class _Screen:
    """Prints events, and tells on stderr what could not be shown; `status` is the exit status that comes of it."""

    def __init__(self, full: bool) -> None:
        self.status = 0
        self._full = full
        self._table = None if full or not sys.stdout.isatty() else Table()

    def show(self, page: Mapping[str, Any], events: Sequence[EventView]) -> None:
        for position in page["damaged"]:
            self._complain(f"the event at {position} is damaged on disk")
        print_lines(self._lines(events) if self._table is None else self._table.lines(events))

    def _lines(self, events: Sequence[EventView]) -> Iterator[str]:
        """In JSON: what was cut is shown with its mark, and is no whole event."""
        if not self._full:
            yield from map(json_line, events)
            return
        for view in events:
            missing = [what for mark, what in _MARKS.items() if view.get(mark)]
            if missing:
                what = " and the ".join(missing)
                self._complain(f"the {what} of the event at {view['position']} is too large to fetch: use --data DIR")
            else:
                yield full_line(view)

    def _complain(self, reason: str) -> None:
        print(f"wayside events: {reason}", file=sys.stderr)
        self.status = EXIT_FAILED


async def show_list(place: str | Path, wanted: Wanted, form: Form) -> int:
    """Print the events that are wanted; `place` is an admin port or a data folder."""
    source: EventSource = StoreSource(place) if isinstance(place, Path) else AdminSource(place)
    screen, after, left, done = _Screen(form.full), None, form.limit, False
    try:
        while not done and left != 0:
            page = await source.page(wanted, after, min(left or PAGE_ROWS, PAGE_ROWS), form.newest_first)
            screen.show(page, page["events"])
            after, done = page["last"], page["done"]
            left = None if left is None else left - len(page["events"])
    finally:
        await source.stop()
    return screen.status


async def follow(admin: str, wanted: Wanted, full: bool, first: int) -> int:
    """Print the newest events, then those that come, until a signal; 0 then, and where nobody reads any more."""
    source = AdminSource(admin)
    return await run_until_signalled([source], lambda: _follow(source, wanted, full, first))


async def _follow(source: AdminSource, wanted: Wanted, full: bool, first: int) -> None:
    screen = _Screen(full)
    after = await _show_newest(source, wanted, screen, first)
    while not _nobody_reads():
        page = await source.page(wanted, after, PAGE_ROWS)
        screen.show(page, page["events"])
        after = page["last"]
        if page["done"]:
            await asyncio.sleep(_POLL_S)


async def _show_newest(source: AdminSource, wanted: Wanted, screen: _Screen, limit: int) -> int:
    """Returns the position from which to go on: that of the first look, so that nothing is missed or shown twice."""
    page = await source.page(wanted, None, min(limit, PAGE_ROWS) or 1, newest_first=True)
    pages, found, newest = [page], len(page["events"]), int(page["newest"])
    while found < limit and not page["done"]:
        page = await source.page(wanted, page["last"], min(limit - found, PAGE_ROWS), newest_first=True)
        pages.append(page)
        found += len(page["events"])
    for page in reversed(pages if limit else []):
        screen.show(page, page["events"][::-1])
    return newest


def _nobody_reads() -> bool:
    """Whether the pipe that stdout is has lost its reader, which a write would otherwise be the first to notice."""
    watch = select.poll()
    watch.register(sys.stdout.fileno(), 0)
    return any(event & select.POLLERR for _, event in watch.poll(0))


async def replay(admin: str, wanted: Wanted, after: int | None, dry_run: bool) -> int:
    """Replay step by step, past a position; tell how it goes on stderr, and at the end how it went."""
    source, counts, progress = AdminSource(admin), Counter[str](), _Progress()
    asked = {"trigger": wanted.trigger, "from": wanted.since, "to": wanted.until, "dry_run": dry_run, "after": after}
    done = False
    try:
        while not done:
            step = await source.act("/replay", asked)
            counts.update({name: step[name] for name in REPLAY_COUNTS})
            asked |= {"from": step["from"], "to": step["to"], "after": step["last"]}
            done = step["done"]
            progress.tell(f"looked at {counted(counts['looked'], 'event')}, replayed {counts['replayed']}")
    finally:
        progress.end(None if done or asked["after"] == after else _cut_short(asked, counts))
        await source.stop()
    times = {name: asked[name] for name in ("from", "to")}
    summary = {"trigger": step["trigger"], **times, "dry_run": dry_run, **counts}
    print_lines([replay_words(summary) if sys.stdout.isatty() else json.dumps(summary)])
    return 0


def _cut_short(asked: Mapping[str, Any], counts: Mapping[str, int]) -> str:
    """For whoever would go on: to begin anew would replay a second time what was delivered meanwhile."""
    return (
        f"wayside events: cut short, {counts['replayed']} replayed of {counted(counts['looked'], 'event')}:"
        f" go on with --from {asked['from']} --to {asked['to']} --after {asked['after']}"
    )


async def redeliver(admin: str, trigger: str | None, positions: Sequence[int] | None) -> int:
    """Redeliver step by step, each dead letter once, and tell how many; 1 where none lies at the given positions."""
    source, triggers = AdminSource(admin), Counter[str]()
    asked: dict[str, Any] = {"trigger": trigger, "positions": positions}
    done = False
    try:
        while not done:
            step = await source.act("/redeliver", asked)
            triggers.update(step["triggers"])
            asked["after"], done = step["last"], step["done"]
    finally:
        await source.stop()
    summary = {"redelivered": triggers.total(), "triggers": dict(triggers)}
    print_lines([redeliver_words(summary) if sys.stdout.isatty() else json.dumps(summary)])
    return EXIT_FAILED if positions and not triggers.total() else 0


class _Progress:
    """Says on stderr how far a command is: on one line of a terminal, else as a line now and then."""

    def __init__(self) -> None:
        self._on_terminal = sys.stderr.isatty()
        self._told_s = asyncio.get_running_loop().time()
        self._open = False

    def tell(self, text: str) -> None:
        now_s = asyncio.get_running_loop().time()
        if self._on_terminal:
            print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
            self._open = True
        elif now_s >= self._told_s + _PROGRESS_S:
            print(text, file=sys.stderr, flush=True)
            self._told_s = now_s

    def end(self, last_words: str | None) -> None:
        if self._open:
            print(file=sys.stderr)
        if last_words is not None:
            print(last_words, file=sys.stderr)
