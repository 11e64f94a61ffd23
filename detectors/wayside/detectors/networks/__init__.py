"""Dense networks: described by values, trained by Keras, written as ONNX graphs, scored by onnxruntime.

Keras scores as well, on a GPU that onnxruntime cannot use.
"""
