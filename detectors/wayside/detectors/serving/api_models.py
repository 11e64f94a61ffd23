"""The documents of the management and V2 endpoints, as OpenAPI describes them.

Source: Open Inference Protocol, "HTTP/REST" and its model repository extension, in the form that MLServer has them.
Invariant: what a route answers is one of these; a member that is absent is absent, never null, unless it says so.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from wayside.detectors.tabular.schema import ColumnType

Text = Annotated[str, Field(max_length=256)]
Size = Annotated[int, Field(ge=-1)]


class Document(BaseModel):
    """Base of them all: built once, never changed."""

    model_config = ConfigDict(frozen=True, protected_namespaces=())


class ErrorDocument(Document):
    """What went wrong, in words that say what to do."""

    error: str


class ServerMetadata(Document):
    name: str
    version: str
    extensions: tuple[str, ...]


class Live(Document):
    live: bool


class Ready(Document):
    ready: bool


class ModelReady(Document):
    name: str
    ready: bool


class TensorMetadata(Document):
    """A tensor by its name; -1 in the shape is any number of rows."""

    name: str
    datatype: str
    shape: tuple[Size, ...]


class ModelMetadata(Document):
    """A detector as a V2 model; its version is its artifact's digest, cut short."""

    name: str
    versions: tuple[str, ...]
    platform: str
    inputs: tuple[TensorMetadata, ...]
    outputs: tuple[TensorMetadata, ...]


class RequestInput(Document):
    """Rows: one tensor of shape (rows, columns), or a tensor a column by its name."""

    name: Text
    shape: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1, max_length=32)]
    datatype: Literal["BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "BF16",
                      "FP32", "FP64", "BYTES"]  # fmt: skip
    data: list[Any] = Field(default_factory=list)
    parameters: Mapping[str, JsonValue] = Field(default_factory=dict)


class RequestOutput(Document):
    name: Literal["is_outlier", "instance_score", "p_value", "threshold", "feature_score"]
    parameters: Mapping[str, JsonValue] = Field(default_factory=dict)


class InferenceRequest(Document):
    """`parameters` may hold `return_feature_score` and `binary_data_output`, true or false."""

    inputs: Annotated[list[RequestInput], Field(min_length=1)]
    id: Text | None = None
    parameters: Mapping[str, JsonValue] = Field(default_factory=dict)
    outputs: Annotated[list[RequestOutput], Field(max_length=5)] = Field(default_factory=list)


class ResponseOutput(Document):
    """One column of the verdict. A score that is not finite is null."""

    name: str
    datatype: Literal["INT64", "FP64"]
    shape: tuple[int, ...]
    data: list[float | None] = Field(default_factory=list)
    parameters: Mapping[str, JsonValue] = Field(default_factory=dict)


class InferenceResponse(Document):
    """The verdict on the rows, a value a row in each output."""

    model_name: str
    model_version: str
    id: str = ""
    parameters: Mapping[str, JsonValue]
    outputs: tuple[ResponseOutput, ...]


class IndexRequest(Document):
    """`ready` true leaves out what is not loaded."""

    ready: bool = False


class IndexEntry(Document):
    name: str
    version: str
    state: Literal["READY", "UNAVAILABLE"]
    reason: str


class LoadDocument(Document):
    """The digests of the artifact that served before and of the one that serves now; equal where none was new."""

    name: str
    before: str
    digest: str


class UnloadDocument(Document):
    name: str
    state: Literal["UNAVAILABLE"] = "UNAVAILABLE"


class ColumnDocument(Document):
    name: str | None
    type: ColumnType
    categories: int = Field(description="how many it was fitted on")
    missing: bool = Field(description="whether a value may be absent")


class DetectorSummary(Document):
    name: str
    kind: str
    digest: str
    loaded: bool
    alpha: float = Field(description="the budget of false alarms a row, or a window")
    threshold: float | None = Field(description="scores above it are flagged; null for window detectors")
    windows: dict[str, Any] | None = Field(description="how windows are cut, and their budget; null for row detectors")


class DetectorDocument(DetectorSummary):
    columns: tuple[ColumnDocument, ...]
    provenance: Mapping[str, JsonValue] = Field(description="what the fit wrote down, its promised interval included")
