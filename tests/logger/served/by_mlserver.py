"""SeldonIO's MLServer with a model that sums rows, as a script of its own environment, .venvs/mlserver.

    python by_mlserver.py --http_port 8080 --grpc_port 8081

Where WAYSIDE_LOGGER_LOG_URL is set, the payload logger's middleware is in it, as docs/logger.md says to put it there.
"""

import argparse
import asyncio

import numpy as np
from mlserver import MLModel, MLServer, ModelSettings, Settings
from mlserver.codecs import NumpyCodec
from mlserver.errors import InferenceError
from mlserver.types import InferenceRequest, InferenceResponse

from wayside.logger.asgi import PayloadLoggerMiddleware


class RowSums(MLModel):
    """Negative rows are the client's fault, infinite ones break the model."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        rows = NumpyCodec.decode_input(payload.inputs[0]).astype(np.float64)
        if (rows < 0).any():
            raise InferenceError("rows hold negative values")
        if (rows > 1e6).any():
            raise RuntimeError("the model broke")
        output = NumpyCodec.encode_output("sum", rows.sum(axis=1))
        return InferenceResponse(id=payload.id, model_name=self.name, outputs=[output])


async def serve(http_port: int, grpc_port: int) -> None:
    host = "127.0.0.1"
    settings = Settings(
        debug=False, host=host, http_port=http_port, grpc_port=grpc_port, metrics_endpoint=None, parallel_workers=0
    )
    server = MLServer(settings)
    # MLServer 1.7 has no public name for its app, and no setting for a middleware
    server._rest_server._app.add_middleware(
        PayloadLoggerMiddleware, source="inside", inference_service="sums", metadata_headers=["X-Request-Id"]
    )
    await server.start([ModelSettings(name="sums", implementation=RowSums)])


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--http_port", type=int, required=True)
    parser.add_argument("--grpc_port", type=int, required=True)
    arguments = parser.parse_args()
    asyncio.run(serve(arguments.http_port, arguments.grpc_port))
