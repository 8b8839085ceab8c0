"""Nodes, constants and names of an ONNX graph under construction."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

INPUT, OUTPUT = "pixels", "output"
OPSET = 20  # the first with Gelu
LARGEST_MAP = 2**28  # values of one image between two layers; no network needs so many
IR_VERSION = 9  # which ONNX Runtime reads since 1.17


@dataclass(frozen=True, kw_only=True)
class Tensor:
    """A value in the graph."""

    name: str
    shape: tuple[int, ...]  # of one image as Keras has it, (h, w, c) or (c,); the graph has (c, h, w)


class Writer:
    """Collects a graph; every method that returns a tensor adds what computes it."""

    def __init__(self) -> None:
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        self._inputs: list[Any] = []

    def input(self, shape: tuple[int, ...]) -> Tensor:
        """Add the pixels, (n, *shape) uint8."""
        from onnx import TensorProto, helper

        if self._inputs:
            raise ValueError("more than one input")
        self._inputs.append(helper.make_tensor_value_info(INPUT, TensorProto.UINT8, ["n", *shape]))
        return self.channels_first(self.add("Cast", [INPUT], shape, to=TensorProto.FLOAT))

    def add(self, kind: str, inputs: list[str], shape: tuple[int, ...], **settings: Any) -> Tensor:
        """Add a node of one output."""
        from onnx import helper

        if math.prod(shape) > LARGEST_MAP or min(shape) < 1:
            raise ValueError(f"a map of shape {shape}")
        made = Tensor(name=f"{kind}_{len(self._nodes)}", shape=shape)
        self._nodes.append(helper.make_node(kind, inputs, [made.name], name=made.name, **settings))
        return made

    def constant(self, values: npt.NDArray[Any]) -> str:
        """Add a constant; return its name."""
        from onnx import numpy_helper

        name = f"constant_{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def channels_first(self, x: Tensor) -> Tensor:
        """Turn maps that lie as (n, h, w, c) into (n, c, h, w); leave vectors."""
        return self.add("Transpose", [x.name], x.shape, perm=[0, 3, 1, 2]) if len(x.shape) == 3 else x

    def channels_last(self, x: Tensor) -> Tensor:
        """Turn maps that lie as (n, c, h, w) into (n, h, w, c); leave vectors."""
        return self.add("Transpose", [x.name], x.shape, perm=[0, 2, 3, 1]) if len(x.shape) == 3 else x

    def model(self, output: Tensor) -> bytes:
        """Return the whole, its output channels last."""
        from onnx import TensorProto, helper

        last = self.channels_last(output)
        self._nodes.append(helper.make_node("Identity", [last.name], [OUTPUT]))
        found = helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["n", *last.shape])
        graph = helper.make_graph(self._nodes, "network", self._inputs, [found], self._constants)
        opsets = [helper.make_opsetid("", OPSET)]
        encoded: bytes = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION).SerializeToString()
        return encoded
