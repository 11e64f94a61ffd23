"""The FastAPI application beside the event route: what detectors there are, V2, metrics, and its own documentation.

Source: OpenAPI 3.1; `/protocol` and `/v1/metrics` are those of seldon-core's components/alibi-detect-server.
Invariant: nothing here is loaded from elsewhere: the documentation is a page without a script, written from the OpenAPI
document at the moment it is asked for.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from importlib import metadata
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.openapi.utils import get_openapi
from fastapi.responses import HTMLResponse, PlainTextResponse
from prometheus_client import exposition

from wayside.detectors.serving.api_errors import answer_errors, responses
from wayside.detectors.serving.api_models import ColumnDocument, DetectorDocument, DetectorSummary, InferenceRequest
from wayside.detectors.serving.bounded_app import BoundedApp
from wayside.detectors.serving.catalogue import Catalogue, ServedDetector
from wayside.detectors.serving.metrics import ServiceMetrics
from wayside.detectors.serving.reload import Reloader
from wayside.detectors.serving.request_body import RouteLimits
from wayside.detectors.serving.v2 import V2, find

_TITLE = "Wayside detectors"
_ABOUT = (
    "Events are posted as CloudEvents to / or /detectors/{name}, on this port; the verdict is the reply. These are the"
    " endpoints beside them."
)
_SCHEMAS = "#/components/schemas/{model}"
_STYLE = "body{font:1rem/1.5 system-ui;max-width:60rem;margin:2rem auto;padding:0 1rem}code{background:#8882}"


@dataclass(frozen=True, slots=True)
class Managed:
    """What is managed. `protocol` is told at `/protocol` where adserver's command line named one."""

    catalogue: Catalogue
    reloader: Reloader
    metrics: ServiceMetrics
    protocol: str | None = None


def bounded_management(managed: Managed, limits: RouteLimits) -> BoundedApp:
    """The application as it is served: bodies and requests in hand are bounded."""
    return BoundedApp(management(managed), limits)


def management(managed: Managed) -> FastAPI:
    """The application."""
    app = FastAPI(
        title=_TITLE,
        version=metadata.version("wayside"),
        description=_ABOUT,
        docs_url=None,  # FastAPI's own page loads scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
    )
    answer_errors(app)
    _Routes(managed, app).add()
    app.include_router(V2(managed.catalogue, managed.reloader, managed.metrics).router)
    app.openapi = lambda: openapi(app)  # type: ignore[method-assign]  # the way that FastAPI's documentation shows
    return app


class _Routes:
    """The routes that are Wayside's own, and adserver's."""

    def __init__(self, managed: Managed, app: FastAPI) -> None:
        self._managed = managed
        self._app = app

    def add(self) -> None:
        add = self._app.add_api_route
        add("/detectors", self.detectors, response_model=list[DetectorSummary], tags=["detectors"])
        add(
            "/detectors/{name}",
            self.detector,
            response_model=DetectorDocument,
            responses=responses(404),
            tags=["detectors"],
        )
        add("/v1/metrics", self.metrics, response_class=PlainTextResponse, tags=["adserver"])
        if self._managed.protocol is not None:
            add("/protocol", self.protocol, response_class=PlainTextResponse, tags=["adserver"])
        add("/docs", self.docs, response_class=HTMLResponse, include_in_schema=False)

    async def detectors(self) -> list[DetectorSummary]:
        """The detectors of this process."""
        return [DetectorSummary(**_summary(each)) for each in self._managed.catalogue]

    async def detector(self, name: str) -> DetectorDocument:
        """One detector: what it takes, by which budget it judges, and what its fit promised."""
        detector = find(self._managed.catalogue, name)
        card = detector.card
        columns = tuple(
            ColumnDocument(name=each.name, type=each.type, categories=len(each.categories), missing=each.missing)
            for each in card.schema.columns
        )
        return DetectorDocument(**_summary(detector), columns=columns, provenance=dict(card.provenance))

    async def metrics(self, request: Request) -> Response:
        """Prometheus metrics, as on the admin port."""
        encode, content_type = exposition.choose_encoder(request.headers.get("accept", ""))
        return Response(encode(self._managed.metrics.registry), headers={"content-type": content_type})

    async def protocol(self) -> str:
        """The payload protocol that adserver's command line named; here every payload tells its own."""
        assert self._managed.protocol is not None, "served only where there is one"
        return self._managed.protocol

    async def docs(self) -> str:
        return docs_page(self._app.openapi())


def _summary(detector: ServedDetector) -> dict[str, Any]:
    identity, windows = detector.card.identity, detector.card.windows
    return {
        "name": detector.name,
        "kind": identity.kind,
        "digest": identity.digest,
        "loaded": detector.is_loaded,
        "alpha": identity.alpha,
        "threshold": detector.card.threshold,
        "windows": None if windows is None else windows.to_json(),
    }


def openapi(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document: without the 422 that FastAPI writes everywhere, with the body that V2 reads by itself."""
    if app.openapi_schema is None:
        document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        for operation in _operations(document):
            operation["responses"].pop("422", None)
        body = InferenceRequest.model_json_schema(ref_template=_SCHEMAS)
        document["components"]["schemas"] |= {**body.pop("$defs"), "InferenceRequest": body}
        app.openapi_schema = document
    return app.openapi_schema


def _operations(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [operation for path in document["paths"].values() for operation in path.values()]


def docs_page(document: Mapping[str, Any]) -> str:
    """An OpenAPI document as a page to read."""
    lines = [
        f"<h2><code>{escape(method.upper())} {escape(path)}</code></h2>"
        f"<p>{escape(operation.get('description', ''))}</p><p>Answers: {escape(', '.join(operation['responses']))}</p>"
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    ]
    info = document["info"]
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(info["title"])}</title>'
        f"<style>{_STYLE}</style><h1>{escape(info['title'])} {escape(info['version'])}</h1>"
        f'<p>{escape(info["description"])} <a href="openapi.json">openapi.json</a></p>{"".join(lines)}</html>'
    )
