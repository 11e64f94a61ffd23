"""The demo's model: KServe's own Python ModelServer with a classifier, as a script of its own environment.

    .venvs/model-server/bin/python local/wayside/local/demo/model_server.py --train rows.npz --name digits

Invariant: nothing of Wayside is imported here; whatever Wayside shows of this server, a user's server shows as well.

The file of `--train` holds `rows` (float, shape (n, d)), `labels` (int, shape (n,)) and, where the features have names,
`names` (text, shape (d,)). The server speaks V1 (`/v1/models/NAME:predict`) and V2 (`/v2/models/NAME/infer`), takes
features by name where they have some, and binds to loopback alone. A wrong file or a port in
use: one line on stderr and exit status 2.
"""

import argparse
import socket
import sys
import warnings
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer
from kserve.errors import InvalidInput
from kserve.logging import KSERVE_LOG_CONFIG, configure_logging
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

HOST = "127.0.0.1"
GRACE_S = 3


class StartupError(Exception):
    """The server cannot start; the message says what is wrong and where."""


class Classifier(Model):  # type: ignore[misc]  # kserve has no types
    """A fitted classifier behind both protocols. Rows of another width, or that lack a feature, are a 400."""

    def __init__(self, name: str, trained: "Trained") -> None:
        super().__init__(name)
        self._trained = trained
        self.ready = True

    def predict(self, payload: Any, headers: dict[str, str] | None = None) -> dict[str, list[int]] | InferResponse:
        """V1 comes as the decoded JSON, V2 as an `InferRequest`; the answer has the same protocol."""
        if isinstance(payload, InferRequest):
            return self._answer_v2(payload, self._label(_read_v2(payload, self._trained.names)))
        return {"predictions": self._label(_read_v1(payload, self._trained.names)).tolist()}

    def _label(self, values: Any) -> NDArray[np.int64]:
        labels: NDArray[np.int64] = self._trained.pipeline.predict(_matrix(values, self._trained.features))
        return labels

    def _answer_v2(self, request: InferRequest, labels: NDArray[np.int64]) -> InferResponse:
        output = InferOutput(name="label", shape=[len(labels)], datatype="INT64", data=labels.tolist())
        # kserve 0.21 answers 500 where the id, which the protocol leaves to the client, is absent
        return InferResponse(response_id=request.id or str(uuid4()), model_name=self.name, infer_outputs=[output])

    def get_input_types(self) -> list[dict[str, Any]]:
        if self._trained.names is None:
            return [{"name": "input", "datatype": "FP64", "shape": [-1, self._trained.features]}]
        return [{"name": name, "datatype": "FP64", "shape": [-1, 1]} for name in self._trained.names]

    def get_output_types(self) -> list[dict[str, Any]]:
        return [{"name": "label", "datatype": "INT64", "shape": [-1]}]


@dataclass(frozen=True)
class Trained:
    """A classifier of rows of `features` values, which have `names`, or go by position."""

    pipeline: Pipeline
    features: int
    names: list[str] | None


def _read_v1(payload: Any, names: list[str] | None) -> Any:
    if not isinstance(payload, dict) or not isinstance(payload.get("instances"), list):
        raise InvalidInput('send JSON with a list "instances"')
    rows = payload["instances"]
    if names is None or not any(isinstance(row, dict) for row in rows):
        return rows
    try:
        return [[row[name] for name in names] for row in rows]
    except (KeyError, TypeError) as exc:
        raise InvalidInput(f"a row lacks a feature: {exc}") from exc


def _read_v2(request: InferRequest, names: list[str] | None) -> Any:
    try:
        arrays = {tensor.name: np.asarray(tensor.as_numpy()) for tensor in request.inputs}
        if len(arrays) == 1:
            return next(iter(arrays.values()))
        if names is None:
            raise InvalidInput(f"send one input of shape [n, features]; there are {len(arrays)}")
        return np.column_stack([arrays[name] for name in names])
    except InvalidInput:
        raise
    except KeyError as exc:
        raise InvalidInput(f"there is no input {exc}") from exc
    except (ValueError, TypeError) as exc:
        raise InvalidInput(f"the input's data does not fill its shape: {exc}") from exc


def _matrix(values: Any, features: int) -> NDArray[np.float64]:
    try:
        matrix = np.asarray(values, dtype=np.float64)
    except (ValueError, TypeError, OverflowError) as exc:
        raise InvalidInput("rows are ragged or not numeric") from exc
    if matrix.ndim != 2 or not len(matrix) or matrix.shape[1] != features:
        raise InvalidInput(f"rows have shape {list(matrix.shape)}; send [n, {features}]")
    if not np.isfinite(matrix).all():
        raise InvalidInput("rows hold values that are not finite")
    return matrix


class LoopbackServer(ModelServer):  # type: ignore[misc]  # kserve has no types
    """KServe's server on loopback: it has no setting for the address, and takes every interface."""

    async def _serve(self) -> None:
        self._rest_server.config.host = HOST
        await super()._serve()


def train(path: Path) -> Trained:
    """A classifier fitted on a file's rows: about 1 s for 4 000 of them. Raises `StartupError`."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            rows, labels = arrays["rows"], arrays["labels"]
            names = [str(name) for name in arrays["names"]] if "names" in arrays.files else None
        pipeline = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=200)).fit(rows, labels)
        return Trained(pipeline, rows.shape[1], names)
    except OSError as exc:
        raise StartupError(f"cannot read {path}: {exc.strerror or exc}") from exc
    except (KeyError, ValueError, TypeError, EOFError, zipfile.BadZipFile) as exc:
        raise StartupError(f"{path} is no .npz file with numeric 'rows' and 'labels': {exc}") from exc


def check_port(port: int) -> None:
    """Raises `StartupError` where the port cannot be bound, before the seconds that a start takes."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except (OSError, OverflowError) as exc:
            raise StartupError(f"cannot listen on {HOST}:{port}: {getattr(exc, 'strerror', None) or exc}") from exc


def serve(model: Classifier, port: int) -> None:
    """Serve until SIGTERM or SIGINT."""
    levels = {name: {**log, "level": "WARNING"} for name, log in KSERVE_LOG_CONFIG["loggers"].items()}
    # kserve 0.21 answers with a class that FastAPI deprecates, and would be told so in the log at every request
    warnings.filterwarnings("ignore", message="ORJSONResponse is deprecated")
    configure_logging({**KSERVE_LOG_CONFIG, "loggers": levels})
    server = LoopbackServer(
        http_port=port, workers=1, enable_grpc=False, enable_latency_logging=False, grace_period=GRACE_S
    )
    server.start([model])


def main(argv: Sequence[str]) -> int:
    """Train, then serve; returns the exit status. KServe's own flags are read from the same command line."""
    parser = argparse.ArgumentParser(prog="model_server.py", allow_abbrev=False)
    parser.add_argument("--train", type=Path, required=True, metavar="FILE.npz")
    parser.add_argument("--name", default="digits", help="the model's name")
    parser.add_argument("--http_port", type=int, default=8080)
    settings, _ = parser.parse_known_args(argv)
    try:
        check_port(settings.http_port)
        serve(Classifier(settings.name, train(settings.train)), settings.http_port)
    except StartupError as exc:
        print(f"model server: {exc}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
