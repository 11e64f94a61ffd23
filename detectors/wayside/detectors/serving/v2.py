"""The Open Inference Protocol over the detectors of a process: health, metadata, inference, and the model repository.

Source: Open Inference Protocol, "HTTP/REST"; the endpoints, outputs and headers of MLServer's alibi-detect runtime.
Invariant: rows that come in by V2 are judged by the same artifact, in the same batches and to the same bits as an
event's; the version of an answer names the artifact that gave it. Every request is counted once.
"""

import asyncio
from collections.abc import Mapping
from importlib import metadata
from typing import Any

import numpy as np
from fastapi import APIRouter, Request, Response

from wayside.detectors.kinds.protocol import Array
from wayside.detectors.serving.answering import Wanted
from wayside.detectors.serving.api_errors import NotForPages, NotServed, outcome_of, responses
from wayside.detectors.serving.api_models import (
    IndexEntry,
    IndexRequest,
    InferenceResponse,
    Live,
    LoadDocument,
    ModelMetadata,
    ModelReady,
    Ready,
    ServerMetadata,
    TensorMetadata,
    UnloadDocument,
)
from wayside.detectors.serving.catalogue import Card, Catalogue, ServedDetector
from wayside.detectors.serving.connection import watch_of
from wayside.detectors.serving.metrics import ServiceMetrics
from wayside.detectors.serving.reload import Reloader
from wayside.detectors.serving.row_service import RowService, is_large_body
from wayside.detectors.serving.v2_wire import (
    FEATURE_SCORE,
    InferRequest,
    ModelName,
    read_infer_request,
    write_infer_response,
)
from wayside.detectors.tabular.schema import ColumnType, Schema
from wayside.eventing.errors import MalformedPayload
from wayside.eventing.payloads.messages import CONTENT_ENCODING_HEADERS
from wayside.eventing.verdict import RowVerdict

_EXTENSIONS = ("binary_tensor_data", "model_repository")
_BODY_REF = "#/components/schemas/InferenceRequest"
_LOOP_VALUES = 4096  # a larger answer is written in a thread: the event loop has others to serve
_BEYOND_ROWS = "judges events by what came before them, and a request is no event"
_OUTPUT_TYPES = {"is_outlier": "INT64", "instance_score": "FP64", "p_value": "FP64", "threshold": "FP64"}


class V2:
    """The routes of V2, as `router`."""

    def __init__(self, catalogue: Catalogue, reloader: Reloader, metrics: ServiceMetrics) -> None:
        self._catalogue = catalogue
        self._reloader = reloader
        self._unknown = metrics.unknown
        self.router = APIRouter(prefix="/v2", tags=["v2"])
        self._add_server_routes()
        self._add_model_routes()
        self._add_repository_routes()

    def _add_server_routes(self) -> None:
        add = self.router.add_api_route
        add("", self.server_metadata, response_model=ServerMetadata)
        add("/health/live", self.live, response_model=Live)
        add("/health/ready", self.ready, response_model=Ready, responses={503: {"model": Ready}})

    def _add_model_routes(self) -> None:
        add = self.router.add_api_route
        body = {"required": True, "content": {"application/json": {"schema": {"$ref": _BODY_REF}}}}
        answers: dict[int | str, dict[str, Any]] = responses(400, 404, 413, 429, 503)
        answers[200] = {"model": InferenceResponse, "content": {"application/octet-stream": {}}}
        for path in ("/models/{name}", "/models/{name}/versions/{version}"):
            add(path, self.model_metadata, response_model=ModelMetadata, responses=responses(404))
            add(
                f"{path}/ready",
                self.model_ready,
                response_model=ModelReady,
                responses={**responses(404), 503: {"model": ModelReady}},
            )
            add(
                f"{path}/infer",
                self.infer,
                methods=["POST"],
                response_class=Response,
                responses=answers,
                openapi_extra={"requestBody": body},
            )

    def _add_repository_routes(self) -> None:
        add, path = self.router.add_api_route, "/repository/models/{name}"
        refusals = responses(400, 403, 404, 409, 413, 429)
        add(
            "/repository/index",
            self.index,
            methods=["POST"],
            response_model=list[IndexEntry],
            responses=responses(400, 413, 429),
        )
        add(f"{path}/load", self.load, methods=["POST"], response_model=LoadDocument, responses=refusals)
        add(f"{path}/unload", self.unload, methods=["POST"], response_model=UnloadDocument, responses=refusals)

    async def server_metadata(self) -> ServerMetadata:
        """What serves, and which extensions of the protocol it has."""
        return ServerMetadata(name="wayside", version=metadata.version("wayside"), extensions=_EXTENSIONS)

    async def live(self) -> Live:
        """That the process answers."""
        return Live(live=True)

    async def ready(self, response: Response) -> Ready:
        """Whether every detector that is loaded can judge."""
        ready = all(passes() for passes in self._catalogue.checks.values())
        response.status_code = 200 if ready else 503
        return Ready(ready=ready)

    async def model_metadata(self, name: str, version: str | None = None) -> ModelMetadata:
        """What a detector takes and answers."""
        return describe_model(self._find(name, version))

    async def model_ready(self, response: Response, name: str, version: str | None = None) -> ModelReady:
        """Whether a detector can judge."""
        ready = all(passes() for passes in self._find(name, version).checks.values())
        response.status_code = 200 if ready else 503
        return ModelReady(name=name, ready=ready)

    async def infer(self, request: Request, name: str, version: str | None = None) -> Response:
        """Judge rows: one tensor of all columns, or a tensor a column. Outputs have a value a row."""
        watch = watch_of(request.scope)
        watch.cancels(asyncio.current_task())
        try:
            response = await self._infer(request, name, version)
        except asyncio.CancelledError:
            if not watch.is_gone:
                raise
            self._count(name, "gone")
            return Response()  # which nobody reads: it was cancelled for that
        except Exception as exc:
            self._count(name, outcome_of(exc))
            raise
        finally:
            watch.cancels(None)
        self._count(name, "scored")
        return response

    async def _infer(self, request: Request, name: str, version: str | None) -> Response:
        detector = self._find(name, version)
        body, headers = await request.body(), dict(request.headers)
        with detector.using() as loaded:
            _check_version(name, version, loaded.card)  # another may have taken over meanwhile
            service = loaded.service
            if not isinstance(service, RowService):
                raise MalformedPayload(f"{loaded.card.identity.kind} {_BEYOND_ROWS}: post events to it")
            asked = await _read(service, body, headers)
            verdict = await service.judge(asked.payload, Wanted(feature_scores=asked.wants_feature_scores))
            if len(verdict.decisions) * len(asked.outputs) <= _LOOP_VALUES and not asked.wants_feature_scores:
                return _respond(asked, loaded.card, verdict)
            return await service.apart(_respond, asked, loaded.card, verdict)

    def _count(self, name: str, outcome: str) -> None:
        detector = self._catalogue.get(name)
        if detector is None or outcome == "unknown":
            self._unknown.inc()
        else:
            detector.metrics.count_request(outcome)

    async def index(self, wanted: IndexRequest | None = None) -> list[IndexEntry]:
        """The detectors of this process, loaded or not."""
        only_ready = wanted is not None and wanted.ready
        return [_index_entry(each) for each in self._catalogue if each.is_loaded or not only_ready]

    async def load(self, request: Request, name: str) -> LoadDocument:
        """Put the artifact that lies at the detector's URI by now into service; 409 and the reason where it is refused,
        and then the one before keeps serving."""
        detector = self._managed(request, name)
        done = await self._reloader.reload(detector)
        return LoadDocument(name=name, before=done.before, digest=done.after)

    async def unload(self, request: Request, name: str) -> UnloadDocument:
        """Take a detector out of service until it is loaded again."""
        await self._reloader.unload(self._managed(request, name))
        return UnloadDocument(name=name)

    def _find(self, name: str, version: str | None) -> ServedDetector:
        detector = find(self._catalogue, name)
        if not detector.is_loaded:
            raise NotServed(f"detector {name!r} is unloaded: POST /v2/repository/models/{name}/load")
        _check_version(name, version, detector.card)
        return detector

    def _managed(self, request: Request, name: str) -> ServedDetector:
        """The detector that a caller may change. A browser says with every POST on whose page's behalf it comes."""
        if "origin" in request.headers:
            raise NotForPages("this is not for web pages")
        return find(self._catalogue, name)


def _check_version(name: str, wanted: str | None, card: Card) -> None:
    if wanted is not None and wanted != card.version:
        raise NotServed(f"detector {name!r} has version {card.version}, not {wanted[:64]!r}")


def find(catalogue: Catalogue, name: str) -> ServedDetector:
    """Raises `NotServed`, which names those that there are."""
    detector = catalogue.get(name)
    if detector is None:
        raise NotServed(f"there is no detector {name[:64]!r}: there are {', '.join(catalogue.names)}")
    return detector


def describe_model(detector: ServedDetector) -> ModelMetadata:
    """A detector as V2 describes a model."""
    card = detector.card
    return ModelMetadata(
        name=detector.name,
        versions=(card.version,),
        platform=f"wayside_{card.identity.kind}",
        inputs=_inputs(card.schema),
        outputs=_outputs(card) if detector.judges_rows else (),
    )


def _outputs(card: Card) -> tuple[TensorMetadata, ...]:
    columns = [TensorMetadata(name=name, datatype=datatype, shape=(-1,)) for name, datatype in _OUTPUT_TYPES.items()]
    if card.gives_feature_scores:
        columns.append(TensorMetadata(name=FEATURE_SCORE, datatype="FP64", shape=(-1, len(card.schema.columns))))
    return tuple(columns)


def _inputs(schema: Schema) -> tuple[TensorMetadata, ...]:
    if not schema.categorical:
        return (TensorMetadata(name="rows", datatype="FP64", shape=(-1, len(schema.columns))),)
    return tuple(
        TensorMetadata(name=str(column.name), datatype=datatype, shape=(-1, 1))
        for column in schema.columns
        for datatype in ["BYTES" if column.type is ColumnType.CATEGORY else "FP64"]
    )


def _index_entry(detector: ServedDetector) -> IndexEntry:
    name, version = detector.name, detector.card.version
    if detector.is_loaded:
        return IndexEntry(name=name, version=version, state="READY", reason="")
    return IndexEntry(name=name, version=version, state="UNAVAILABLE", reason="unloaded")


async def _read(service: RowService, body: bytes, headers: Mapping[str, str]) -> InferRequest:
    coding = next((headers[name] for name in CONTENT_ENCODING_HEADERS if name in headers), None)
    if is_large_body(body, coding):
        return await service.apart(read_infer_request, body, headers, service.payload_limits)
    return read_infer_request(body, headers, service.payload_limits)


def _respond(asked: InferRequest, card: Card, verdict: RowVerdict) -> Response:
    identity = card.identity
    headers, body = write_infer_response(
        ModelName(identity.name, card.version), asked, columns_of(verdict), identity.meta()
    )
    told = {"x-seldon-alibi-type": "outlier", "x-seldon-alibi-method": identity.kind}
    return Response(body, headers={**headers, **told})


def columns_of(verdict: RowVerdict) -> Mapping[str, Array]:
    """A verdict's columns as V2's outputs; what is not finite is NaN."""
    columns: dict[str, Array] = {
        "is_outlier": np.asarray(verdict.decisions, np.int64),
        "instance_score": np.asarray(verdict.scores, np.float64),  # None becomes NaN
        "p_value": np.asarray(verdict.p_values, np.float64),
        "threshold": np.full(len(verdict.decisions), verdict.threshold),  # whoever splits an answer, splits by rows
    }
    if verdict.feature_scores is not None:
        columns[FEATURE_SCORE] = np.asarray(verdict.feature_scores, np.float64)
    return columns
