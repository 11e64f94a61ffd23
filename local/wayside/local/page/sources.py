"""Where the page's facts come from over HTTP: the admin ports of logger, broker and window detectors.

Invariant: each source fails alone, as a `Problem` that says which address did not answer and how.
"""

import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from wayside.eventing.errors import WaysideError
from wayside.eventing.http.client import HttpClient, Unreachable
from wayside.eventing.http.url import Url
from wayside.eventing.sink import SinkUnavailable
from wayside.local.carriers import Carried, KafkaCarrier
from wayside.local.page.latency import Histogram

T = TypeVar("T")
_TIMEOUT_S = 2.0
_NO_WINDOWS = 404


class Problem(WaysideError):
    """A source cannot be read now; the message is for the person who looks at its panel."""


@dataclass(frozen=True, slots=True)
class Reading(Generic[T]):
    """What a source said, or why it said nothing; exactly one of the two is set."""

    value: T | None = None
    problem: str | None = None


async def attempt(read: Callable[[], Awaitable[T]]) -> Reading[T]:
    """One read of one source; a `Problem` becomes a part of the reading."""
    try:
        return Reading(value=await read())
    except Problem as exc:
        return Reading(problem=str(exc))


@dataclass(frozen=True, slots=True)
class LoggerReading:
    """The logger's metrics. Mappings go by label value: responses by code, captured and sent by kind, dropped by
    reason, summed over kinds. `request` and `upstream` are in seconds.
    """

    responses: Mapping[str, float]
    captured: Mapping[str, float]
    sent: Mapping[str, float]
    dropped: Mapping[str, float]
    queue: Mapping[str, float]
    request: Histogram
    upstream: Histogram

    @property
    def in_flight(self) -> int:
        """Events captured and neither sent nor dropped yet."""
        gone = sum(self.sent.values()) + sum(self.dropped.values())
        return max(0, round(sum(self.captured.values()) - gone))


@dataclass(frozen=True, slots=True)
class DriftReading:
    """What the window detectors' journals hold, summed over their keys, each `namespace/service/component/endpoint`,
    with the revision as a fifth part where windows are of one. `states` are in words, of keys that have one.

    `late` rows came behind the watermark, and for `left_out` ones there was no room: both are in no window.
    """

    keys: tuple[str, ...] = ()
    in_windows: int = 0
    open: int = 0
    outbox: int = 0
    late: int = 0
    left_out: int = 0
    states: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, view: Mapping[str, Any]) -> "DriftReading":
        """From a detector's `/windows`. Raises `KeyError` or `TypeError` where a part is not there."""
        keys: list[Mapping[str, Any]] = view["keys"]

        def rows(*names: str) -> int:
            return sum(int(key.get(name, 0)) for key in keys for name in names)

        return cls(
            keys=tuple(str(key["key"]) for key in keys),
            in_windows=sum(key["in_windows"] for key in keys),
            open=sum(key["open"] for key in keys),
            outbox=view["outbox"],
            late=rows("late"),
            left_out=rows("overflow", "evicted"),
            states=tuple((str(key["key"]), str(key["state"])) for key in keys if "state" in key),
        )

    def __add__(self, other: "DriftReading") -> "DriftReading":
        return DriftReading(
            keys=tuple(dict.fromkeys(self.keys + other.keys)),
            in_windows=self.in_windows + other.in_windows,
            open=self.open + other.open,
            outbox=self.outbox + other.outbox,
            late=self.late + other.late,
            left_out=self.left_out + other.left_out,
            states=self.states + other.states,
        )


@dataclass(frozen=True, slots=True)
class AdminPorts:
    """The base URLs to read; None or empty where the page was not told of one. `kafka` stands for the broker's."""

    logger: Url | None = None
    broker: Url | None = None
    drift: tuple[Url, ...] = field(default=())
    kafka: KafkaCarrier | None = None


class AdminReader:
    """Reads admin ports. Every method raises `Problem`; close it with `close`."""

    def __init__(self, ports: AdminPorts) -> None:
        self._ports = ports
        self._http = HttpClient()

    async def close(self) -> None:
        await self._http.close()

    async def logger(self) -> LoggerReading:
        text = await self._get(self._told(self._ports.logger, "--logger-admin"), "/metrics")
        try:
            return _logger_reading(text.decode())
        except ValueError as exc:
            raise Problem(f"the logger's metrics cannot be read: {exc}") from exc

    async def carried(self) -> Carried:
        """What the broker's triggers, or Kafka's consumer groups, were given."""
        if self._ports.kafka is not None:
            return await self._from_kafka(self._ports.kafka)
        body = await self._get(self._told(self._ports.broker, "--broker-admin"), "/triggers")
        try:
            return Carried.of_view(body)
        except ValueError as exc:
            raise Problem("the broker's /triggers answered with something other than JSON") from exc
        except (KeyError, TypeError) as exc:
            raise Problem(f"the broker's /triggers lacks {exc}") from exc

    async def _from_kafka(self, kafka: KafkaCarrier) -> Carried:
        try:
            return await kafka.read()
        except SinkUnavailable as exc:
            raise Problem(f"not reachable: {exc}") from exc

    async def drift(self) -> DriftReading:
        """The sum over the detectors named; one that judges rows keeps no windows and adds nothing."""
        self._told(next(iter(self._ports.drift), None), "--drift-admin")
        total = DriftReading()
        for base in self._ports.drift:
            total += await self._windows(base)
        return total

    async def _windows(self, base: Url) -> DriftReading:
        view = await self._view(base, "/windows", missing={"keys": [], "outbox": 0})
        try:
            return DriftReading.of(view)
        except (KeyError, TypeError) as exc:
            raise Problem(f"{base.text}/windows lacks {exc}") from exc

    def _told(self, base: Url | None, flag: str) -> Url:
        if base is None:
            raise Problem(f"not watched: start the page with {flag} URL")
        return base

    async def _view(self, base: Url, path: str, missing: Mapping[str, Any] | None = None) -> Mapping[str, Any]:
        body = await self._get(base, path, may_miss=missing is not None)
        try:
            view = missing if body is _MISSING else json.loads(body)
        except ValueError as exc:
            raise Problem(f"{base.text}{path} answered with something other than JSON") from exc
        if not isinstance(view, dict):
            raise Problem(f"{base.text}{path} answered with something other than an object")
        return view

    async def _get(self, base: Url, path: str, may_miss: bool = False) -> bytes:
        url = Url.parse(base.text.rstrip("/") + path)
        try:
            response = await self._http.send(b"GET", url, [], timeout_s=_TIMEOUT_S)
        except (Unreachable, SinkUnavailable) as exc:
            raise Problem(f"not reachable: {exc}") from exc
        if response.status == _NO_WINDOWS and may_miss:
            return _MISSING
        if response.status != 200:
            raise Problem(f"{url.text} answered {response.status}")
        return response.body


_MISSING = b""


def _logger_reading(text: str) -> LoggerReading:
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    prefix = "wayside_logger_"
    queue = {
        sample.name.removeprefix(f"{prefix}queue_"): sample.value
        for sample in samples
        if sample.name.startswith(f"{prefix}queue_")
    }
    return LoggerReading(
        responses=_by(samples, f"{prefix}responses_total", "code"),
        captured=_by(samples, f"{prefix}events_captured_total", "kind"),
        sent=_by(samples, f"{prefix}events_sent_total", "kind"),
        dropped=_by(samples, f"{prefix}events_dropped_total", "reason"),
        queue=queue,
        request=_histogram(samples, f"{prefix}request_seconds"),
        upstream=_histogram(samples, f"{prefix}upstream_seconds"),
    )


def _by(samples: Iterable[Sample], name: str, label: str) -> dict[str, float]:
    """A counter's values by one label, summed over the others."""
    values: dict[str, float] = {}
    for sample in samples:
        if sample.name == name:
            value = sample.labels.get(label, "")
            values[value] = values.get(value, 0.0) + sample.value
    return values


def _histogram(samples: Iterable[Sample], name: str) -> Histogram:
    bounds = _by(samples, f"{name}_bucket", "le")
    return Histogram(tuple(sorted((float(bound), count) for bound, count in bounds.items())))
