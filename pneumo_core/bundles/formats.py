"""The formats that a bundle is exported to, as data: the command line knows them without loading what they need."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

Format = Literal["onnx", "tflite", "saved_model"]

NEEDS: Mapping[Format, tuple[str, ...]] = MappingProxyType(  # packages besides TensorFlow, to write and to run
    {
        "onnx": ("onnx", "tf2onnx", "onnxruntime"),
        "tflite": ("ai_edge_litert",),
        "saved_model": (),
    }
)
