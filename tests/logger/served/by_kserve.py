"""KServe's ModelServer with a model that sums rows, as a script of its own environment, .venvs/model-server.

    python by_kserve.py --http_port 8080 --grpc_port 8081

Where WAYSIDE_LOGGER_LOG_URL is set, the payload logger's middleware is in it, as docs/logger.md says to put it there.
"""

import warnings
from typing import Any

import numpy as np
from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer
from kserve.errors import InvalidInput
from kserve.model_server import app

from wayside.logger.asgi import PayloadLoggerMiddleware

app.add_middleware(
    PayloadLoggerMiddleware, source="inside", inference_service="sums", metadata_headers=["X-Request-Id"]
)


class RowSums(Model):
    """Negative rows are the client's fault, infinite ones break the model."""

    def __init__(self) -> None:
        super().__init__("sums")
        self.ready = True

    def predict(self, payload: Any, headers: dict[str, str] | None = None) -> Any:
        if not isinstance(payload, InferRequest):
            return {"predictions": _sums(payload["instances"]).tolist()}
        sums = _sums(payload.inputs[0].as_numpy())
        output = InferOutput(name="sum", shape=list(sums.shape), datatype="FP64")
        output.set_data_from_numpy(sums, binary_data=payload.use_binary_outputs)
        return InferResponse(response_id=payload.id or "1", model_name="sums", infer_outputs=[output])


def _sums(values: Any) -> Any:
    rows = np.asarray(values, dtype=np.float64)
    if (rows < 0).any():
        raise InvalidInput("rows hold negative values")
    if not np.isfinite(rows).all():
        raise RuntimeError("the model broke")
    return rows.sum(axis=1)


if __name__ == "__main__":
    # kserve 0.21 answers with a class that FastAPI deprecates, and would be told so in the log at every request
    warnings.filterwarnings("ignore", message="ORJSONResponse is deprecated")
    ModelServer(workers=1, enable_latency_logging=False, grace_period=3).start([RowSums()])
