"""Tells a Pushgateway what a fit came to: a fit is gone before Prometheus could scrape it.

Invariant: a detector's group is replaced whole at each push (PUT), so that no figure of an earlier fit stands beside
the last one's. Pushes go straight to the address that was given: no proxy, no redirect.
Source: Pushgateway's API; prometheus_client's exposition.
"""

import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException
from urllib.parse import urlsplit

from prometheus_client import CollectorRegistry, Gauge, Info
from prometheus_client.exposition import push_to_gateway

from wayside.detectors.fitting.fit import FitReport
from wayside.eventing.errors import ConfigurationError, WaysideError
from wayside.eventing.http.url import Url

JOB = "wayside-fit"
_TIMEOUT_S = 10.0


class PushFailed(WaysideError):
    """The Pushgateway could not be reached or took nothing. The artifact is not touched by it."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """A fit that is done: its report, how long it took, and when it ended (nanoseconds since the epoch)."""

    report: FitReport
    seconds: float
    time_ns: int


def check_push_url(text: str) -> str:
    """The Pushgateway's address. Raises `ConfigurationError` for anything but http(s)://host[:port][/prefix]."""
    url = Url.parse(text)
    parts = urlsplit(url.text)
    if parts.query or parts.fragment:
        raise ConfigurationError(f"{text!r} has a query or a fragment: give the Pushgateway's address alone")
    return url.text


def push(fitted: Fitted, url: str) -> None:
    """Replace the group (job `wayside-fit`, detector's name) at the Pushgateway. Raises `PushFailed`."""
    group = {"detector": fitted.report.artifact.name}
    try:
        push_to_gateway(url, JOB, fit_metrics(fitted), group, _TIMEOUT_S, _straight)
    except urllib.error.HTTPError as exc:
        with exc:
            raise PushFailed(f"the Pushgateway at {url} answered {exc.code}: is that its address?") from exc
    except urllib.error.URLError as exc:
        raise PushFailed(f"no Pushgateway at {url} ({exc.reason}): start it, or fit without --push-url") from exc
    except (OSError, HTTPException) as exc:
        raise PushFailed(f"no Pushgateway at {url} ({exc or type(exc).__name__})") from exc


def fit_metrics(fitted: Fitted) -> CollectorRegistry:
    """What a fit says of itself. A window detector has no threshold of scores, and no calibration rows."""
    report, artifact = fitted.report, fitted.report.artifact
    registry = CollectorRegistry()

    def gauge(name: str, words: str, value: float) -> None:
        Gauge(f"wayside_fit_{name}", words, registry=registry).set(value)

    gauge("reference_rows", "Rows that the detector was fitted on.", report.fitted_rows)
    gauge("calibration_rows", "Rows held out to calibrate.", report.calibration_rows)
    gauge("false_alarm_budget", "The false-alarm rate asked for, of a row or of a window.", artifact.alpha)
    if report.threshold is not None:
        gauge("threshold", "The score above which a row is flagged.", report.threshold)
    gauge("duration_seconds", "How long fitting and calibrating took.", fitted.seconds)
    gauge("completed_timestamp_seconds", "When the fit was done.", fitted.time_ns / 1e9)
    made = Info("wayside_fit_artifact", "The artifact that was written.", registry=registry)
    made.info({"digest": artifact.digest, "kind": artifact.kind})
    return registry


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect is an answer like another: the caller is told of its status."""

    def redirect_request(self, *unused: object) -> None:
        return None


def _straight(
    url: str, method: str, timeout: float | None, headers: list[tuple[str, str]], data: bytes
) -> Callable[[], None]:
    """prometheus_client's handler, without the proxies of the environment."""

    def send() -> None:
        request = urllib.request.Request(url, data, dict(headers), method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect)
        with opener.open(request, timeout=timeout):
            pass

    return send
