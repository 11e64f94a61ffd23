"""Where `wayside events` reads: the admin port of a broker that runs, or the files of one, whether it runs or not.

Invariant: both give the same pages. Reading files changes nothing and takes no lock that a broker would wait for.
"""

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlencode

from wayside.eventing.broker.events.instants import parse_instant
from wayside.eventing.broker.events.listing import Listing, Selection, known_triggers, read_listing
from wayside.eventing.broker.events.listing_json import DataForm, listing_view
from wayside.eventing.broker.events.output import visible
from wayside.eventing.broker.events.scan import ANY_TIME, Range, Span
from wayside.eventing.broker.service import STORE_FILE
from wayside.eventing.clock import SystemClock
from wayside.eventing.errors import ConfigurationError, WaysideError
from wayside.eventing.http.client import HttpClient, Unreachable
from wayside.eventing.http.message import JSON, Response
from wayside.eventing.http.url import Url
from wayside.eventing.storage.journal_errors import translate
from wayside.eventing.storage.onlooker import Onlooker
from wayside.eventing.triggers.trigger_choice import choose_trigger

Page = Mapping[str, Any]
PAGE_ROWS = 500
_TIMEOUT_S = 60.0
_ADVICE = "--admin URL names a broker's admin port"
# what a broker's answers hold, by which others are known to be none
_LISTED = {"events": list, "damaged": list, "last": int, "newest": int, "done": bool}
REPLAY_COUNTS = ("looked", "replayed", "filtered", "waiting", "dead_letters", "forgotten", "damaged")
_ACTED: Mapping[str, Mapping[str, type]] = {
    "/replay": {"trigger": str, "from": str, "to": str, "last": int, "done": bool, **dict.fromkeys(REPLAY_COUNTS, int)},
    "/redeliver": {"triggers": dict, "last": int, "done": bool},
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which events are to be shown; times and Triggers as they were given."""

    since: str | None = None
    until: str | None = None
    trigger: str | None = None
    type: str | None = None
    source: str | None = None
    dead_letters: bool = False
    with_data: bool = False


class EventSource(Protocol):
    """Gives pages of events; whoever has it closes it."""

    async def page(self, wanted: Wanted, after: int | None, limit_rows: int, newest_first: bool = False) -> Page:
        """The next page past a position, as `listing_view` has it, data as base64 where it is wanted.

        Raises `ConfigurationError` for what cannot be asked so, `WaysideError` where nothing answers.
        """

    async def stop(self) -> None: ...


class AdminSource:
    """The admin port of a broker that runs."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        Url.parse(self._url)
        self._client = HttpClient()

    async def start(self) -> None:
        """Nothing: a connection is made when it is needed."""

    async def stop(self) -> None:
        await self._client.close()

    async def page(self, wanted: Wanted, after: int | None, limit_rows: int, newest_first: bool = False) -> Page:
        asked = {
            "from": wanted.since,
            "to": wanted.until,
            "trigger": wanted.trigger,
            "type": wanted.type,
            "source": wanted.source,
            "dead_letters": "true" if wanted.dead_letters else None,
            "data": "base64" if wanted.with_data else None,
            "order": "newest" if newest_first else None,
            "after": after,
            "limit": limit_rows,
        }
        query = urlencode({name: value for name, value in asked.items() if value is not None})
        return _answer(await self._send(b"GET", f"/events?{query}"), self._url, _LISTED)

    async def act(self, path: str, asked: Mapping[str, Any]) -> Page:
        """Ask for one step of an action; raises as `page`."""
        given = {name: value for name, value in asked.items() if value is not None}
        return _answer(await self._send(b"POST", path, json.dumps(given).encode()), self._url, _ACTED[path])

    async def _send(self, method: bytes, path: str, body: bytes = b"") -> Response:
        try:
            return await self._client.send(
                *(method, Url.parse(self._url + path), [JSON] if body else [], body), timeout_s=_TIMEOUT_S
            )
        except Unreachable as exc:
            raise WaysideError(f"no broker answers ({exc}): name its admin port with --admin URL") from exc


def _answer(response: Response, url: str, needed: Mapping[str, type]) -> Page:
    reason = visible(response.body[:2_000].decode(errors="replace").strip())
    if response.status == 400:
        raise ConfigurationError(reason)
    if response.status != 200:
        raise WaysideError(f"{url} answered {response.status} ({reason}): {_ADVICE}")
    try:
        page = json.loads(response.body)
    except (ValueError, RecursionError) as exc:
        raise WaysideError(f"{url} answered no JSON: {_ADVICE}") from exc
    if not isinstance(page, dict) or not all(isinstance(page.get(name), kind) for name, kind in needed.items()):
        raise WaysideError(f"{url} answered what no broker does: {_ADVICE}")
    return page


class StoreSource:
    """The store in a broker's data folder."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / STORE_FILE
        self._now_ns = SystemClock().time_ns()
        if not self._path.is_file():
            raise ConfigurationError(f"--data {folder}: there is no {STORE_FILE}: name the folder of a broker's --data")
        try:
            self._store = Onlooker(self._path)
        except sqlite3.Error as exc:
            raise translate(exc, self._path) from exc

    async def stop(self) -> None:
        self._store.close()

    async def page(self, wanted: Wanted, after: int | None, limit_rows: int, newest_first: bool = False) -> Page:
        span = Span(self._instant(wanted.since, ANY_TIME.from_ns), self._instant(wanted.until, ANY_TIME.to_ns))
        within = Range(span, after, limit_rows, newest_first)
        try:
            listing = self._store.look(lambda connection: _read(connection, wanted, within))
        except sqlite3.Error as exc:
            raise translate(exc, self._path) from exc
        return listing_view(listing, DataForm.BASE64 if wanted.with_data else DataForm.NONE)

    def _instant(self, text: str | None, otherwise_ns: int) -> int:
        return otherwise_ns if text is None else parse_instant(text, self._now_ns)


def _read(connection: sqlite3.Connection, wanted: Wanted, within: Range) -> Listing:
    known = known_triggers(connection)
    trigger = None if wanted.trigger is None else choose_trigger(wanted.trigger, known)
    return read_listing(connection, within, Selection(trigger, wanted.type, wanted.source, wanted.dead_letters))
