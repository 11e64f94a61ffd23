"""Errors of the management and V2 endpoints: every refusal is `{"error": …}` with a status that fits.

Source: Open Inference Protocol, "Inference Response JSON Error Object"; RFC 9110 §15.5, RFC 6585 §4 (429).
Invariant: what a caller did wrong is a 4xx, what may pass is a 429 or a 503 with Retry-After; no error leaks a trace.
"""

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from wayside.detectors.serving.api_models import ErrorDocument
from wayside.detectors.serving.catalogue import DetectorUnloaded
from wayside.detectors.serving.reload import ReloadRefused
from wayside.eventing.errors import MalformedEvent, QueueFull, WaysideError

_RETRY = {"retry-after": "1"}
_REASON_CHARACTERS = 1024


class NotServed(WaysideError):
    """There is no detector of this name, or no such version of it."""


class NotForPages(WaysideError):
    """A browser sent it for some page: nothing that changes a detector is for pages."""


_STATUS: Mapping[type[WaysideError], int] = {
    MalformedEvent: 400,
    NotForPages: 403,
    NotServed: 404,
    DetectorUnloaded: 404,
    ReloadRefused: 409,
    QueueFull: 429,
    WaysideError: 503,
}


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What OpenAPI says of a route's refusals."""
    return {status: {"model": ErrorDocument} for status in statuses}


def outcome_of(error: Exception) -> str:
    """What a V2 request that ended so is counted as."""
    match error:
        case NotServed() | DetectorUnloaded():
            return "unknown"
        case MalformedEvent():
            return "malformed"
        case QueueFull():
            return "overloaded"
    return "failed"


def answer_errors(app: FastAPI) -> None:
    """Answer every error of ours, FastAPI's and Starlette's in the protocol's form."""
    app.add_exception_handler(WaysideError, _on_wayside_error)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(Exception, _on_failure)


def _error(status: int, reason: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    text = reason[:_REASON_CHARACTERS].encode(errors="backslashreplace").decode()  # a lone surrogate is no UTF-8
    return JSONResponse({"error": text}, status, dict(headers or {}))


def _on_wayside_error(_: Request, error: Exception) -> JSONResponse:
    status = next(code for kind, code in _STATUS.items() if isinstance(error, kind))
    return _error(status, str(error), _RETRY if status in (429, 503) else None)


def _on_validation_error(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    return _error(400, f"{'.'.join(map(str, first['loc']))}: {first['msg']}")


def _on_http_error(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    return _error(error.status_code, str(error.detail), error.headers)


def _on_failure(_: Request, error: Exception) -> JSONResponse:
    return _error(500, "internal error; the detector's log has the details")
