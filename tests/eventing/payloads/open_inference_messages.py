"""protobuf's own classes for the messages of `inference.GRPCInferenceService`, to write bodies that we read.

Source: Open Inference Protocol, grpc_predict_v2.proto; InferParameter with Triton's two choices more.
Invariant: nothing here shares code with the reader under test.
"""

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

Types = descriptor_pb2.FieldDescriptorProto
MESSAGES = {
    "InferParameter": ["bool_param bool", "int64_param int64", "string_param string", "double_param double"],
    "InferTensorContents": [
        "bool_contents *bool",
        "int_contents *int32",
        "int64_contents *int64",
        "uint_contents *uint32",
        "uint64_contents *uint64",
        "fp32_contents *float",
        "fp64_contents *double",
        "bytes_contents *bytes",
    ],
    "ParametersEntry": ["key string", "value .inference.InferParameter"],
    "Tensor": [
        "name string",
        "datatype string",
        "shape *int64",
        "parameters *.inference.ParametersEntry",
        "contents .inference.InferTensorContents",
    ],
    "WantedOutput": ["name string", "parameters *.inference.ParametersEntry"],
    "ModelInferRequest": [
        "model_name string",
        "model_version string",
        "id string",
        "parameters *.inference.ParametersEntry",
        "inputs *.inference.Tensor",
        "outputs *.inference.WantedOutput",
        "raw_input_contents *bytes",
    ],
    "ModelInferResponse": [
        "model_name string",
        "model_version string",
        "id string",
        "parameters *.inference.ParametersEntry",
        "outputs *.inference.Tensor",
        "raw_output_contents *bytes",
    ],
}


def _classes() -> dict[str, Any]:
    """A map's entry is a message like any other on the wire; here it is one by name, to be sent twice or cut."""
    file = descriptor_pb2.FileDescriptorProto(name="grpc_predict_v2.proto", package="inference", syntax="proto3")
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for number, (field, kind) in enumerate((field.split() for field in fields), start=1):
            label = Types.LABEL_REPEATED if kind.startswith("*") else Types.LABEL_OPTIONAL
            kind = kind.lstrip("*")
            if kind.startswith("."):
                message.field.add(name=field, number=number, label=label, type=Types.TYPE_MESSAGE, type_name=kind)
            else:
                scalar = Types.Type.Value(f"TYPE_{kind.upper()}")
                message.field.add(name=field, number=number, label=label, type=scalar)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"inference.{name}")) for name in MESSAGES}


CLASSES = _classes()
ModelInferRequest, ModelInferResponse = CLASSES["ModelInferRequest"], CLASSES["ModelInferResponse"]


def parameters(**texts: str) -> list[dict[str, Any]]:
    """Parameters with a text each."""
    return [{"key": key, "value": {"string_param": text}} for key, text in texts.items()]
