"""Calls ModelInfer over gRPC, as a script of either model server's environment, with the messages that it brings.

    python grpc_client.py PORT MODEL=NUMBER,… …

Prints JSON, one object a call: either the numbers of the `outputs`, or the `code` of the error.
"""

import importlib.util
import json
import struct
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import grpc

METHOD = "/inference.GRPCInferenceService/ModelInfer"
_MESSAGES = {"kserve": "protocol/grpc/grpc_predict_v2_pb2.py", "mlserver": "grpc/dataplane_pb2.py"}


def messages() -> ModuleType:
    """The module of messages alone: to import the server around it takes seconds."""
    for package, place in _MESSAGES.items():
        found = importlib.util.find_spec(package)
        if found is not None and found.origin is not None:
            spec = importlib.util.spec_from_file_location("stubs", Path(found.origin).parent / place)
            assert spec is not None
            assert spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            return module
    raise SystemExit("neither kserve nor mlserver is installed here")


def ask(channel: grpc.Channel, stubs: Any, model: str, row: list[float]) -> dict[str, object]:
    request = stubs.ModelInferRequest(model_name=model, id="g-1")
    tensor = request.inputs.add(name="x", datatype="FP64", shape=[1, len(row)])
    tensor.contents.fp64_contents.extend(row)
    infer = channel.unary_unary(METHOD, stubs.ModelInferRequest.SerializeToString, stubs.ModelInferResponse.FromString)
    try:
        return {"outputs": _numbers(infer(request, timeout=10))}
    except grpc.RpcError as exc:
        return {"code": exc.code().name}


def _numbers(answer: Any) -> list[float]:
    if answer.raw_output_contents:
        raw = answer.raw_output_contents[0]
        return list(struct.unpack(f"<{len(raw) // 8}d", raw))
    return list(answer.outputs[0].contents.fp64_contents)


def main(port: str, *calls: str) -> None:
    stubs = messages()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        for call in calls:
            model, _, numbers = call.partition("=")
            print(json.dumps(ask(channel, stubs, model, [float(text) for text in numbers.split(",")])))


if __name__ == "__main__":
    main(*sys.argv[1:])
