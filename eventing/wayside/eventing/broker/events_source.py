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

from wayside.eventing.broker.instants import parse_instant
from wayside.eventing.broker.listing import Listing, Selection, known_triggers, read_listing
from wayside.eventing.broker.listing_json import DataForm, listing_view
from wayside.eventing.broker.scan import ANY_TIME, Range, Span
from wayside.eventing.broker.service import STORE_FILE
from wayside.eventing.broker.trigger_choice import choose_trigger
from wayside.eventing.clock import SystemClock
from wayside.eventing.errors import ConfigurationError, WaysideError
from wayside.eventing.http.client import HttpClient, Unreachable
from wayside.eventing.http.message import JSON, Response
from wayside.eventing.http.url import Url
from wayside.eventing.storage.journal_errors import translate

Page = Mapping[str, Any]
PAGE_ROWS = 500
_TIMEOUT_S = 60.0


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
        return await self._send(b"GET", f"/events?{query}")

    async def act(self, path: str, asked: Mapping[str, Any]) -> Page:
        """Ask for one step of an action; raises as `page`."""
        given = {name: value for name, value in asked.items() if value is not None}
        return await self._send(b"POST", path, json.dumps(given).encode())

    async def _send(self, method: bytes, path: str, body: bytes = b"") -> Page:
        try:
            response = await self._client.send(
                *(method, Url.parse(self._url + path), [JSON] if body else [], body), timeout_s=_TIMEOUT_S
            )
        except Unreachable as exc:
            raise WaysideError(f"no broker answers ({exc}): name its admin port with --admin URL") from exc
        return _answer(response, self._url)


def _answer(response: Response, url: str) -> Page:
    reason = response.body[:2_000].decode(errors="replace").strip()
    if response.status == 400:
        raise ConfigurationError(reason)
    if response.status != 200:
        raise WaysideError(f"{url} answered {response.status} ({reason}): --admin URL names a broker's admin port")
    try:
        page = json.loads(response.body)
    except ValueError as exc:
        raise WaysideError(f"{url} answered no JSON: --admin URL names a broker's admin port") from exc
    assert isinstance(page, dict)
    return page


class StoreSource:
    """The store in a broker's data folder."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / STORE_FILE
        self._now_ns = SystemClock().time_ns()
        if not self._path.is_file():
            raise ConfigurationError(f"--data {folder}: there is no {STORE_FILE}: name the folder of a broker's --data")
        address = f"{self._path.absolute().as_uri()}?mode=ro"
        try:
            self._connection = sqlite3.connect(address, uri=True, isolation_level=None, timeout=10)
        except sqlite3.Error as exc:
            raise translate(exc, self._path) from exc

    async def stop(self) -> None:
        self._connection.close()

    async def page(self, wanted: Wanted, after: int | None, limit_rows: int, newest_first: bool = False) -> Page:
        span = Span(self._instant(wanted.since, ANY_TIME.from_ns), self._instant(wanted.until, ANY_TIME.to_ns))
        listing = self._read(wanted, Range(span, after, limit_rows, newest_first))
        return listing_view(listing, DataForm.BASE64 if wanted.with_data else DataForm.NONE, None)

    def _instant(self, text: str | None, otherwise_ns: int) -> int:
        return otherwise_ns if text is None else parse_instant(text, self._now_ns)

    def _read(self, wanted: Wanted, within: Range) -> Listing:
        try:
            self._connection.execute("BEGIN")
            try:
                known = known_triggers(self._connection)
                trigger = None if wanted.trigger is None else choose_trigger(wanted.trigger, known)
                chosen = Selection(trigger, wanted.type, wanted.source, wanted.dead_letters)
                return read_listing(self._connection, within, chosen)
            finally:
                self._connection.execute("ROLLBACK")
        except sqlite3.Error as exc:
            raise translate(exc, self._path) from exc
