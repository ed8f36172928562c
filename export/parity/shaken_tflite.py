"""A copy of a TFLite artifact that moves each activation it rounds; what for, `rounding` says."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

# Two roundings of nearly one number differ by -1, 0 or 1 step, with variance 1/6 where they have nothing in common. So
# does a number of whole steps that is moved by up to 0.6 of one and rounded again. One that stands anywhere is moved by
# up to half a step: 1/4.
REACH, REACH_ROUNDED = 0.5, 0.6
LEVELS = 255
# The normalisation of int16x8 asks which pixels are lit. The threshold is a grey level, dozens of steps from the next:
# kernels agree on it, while moves that add up from operation to operation cross it.
PREPARING = "^deployable[^/]*/(graham|grey|Cast)"
# Operations whose results are some of the values they read: nothing is rounded, and equal ones stay equal.
COPYING = (
    "RESHAPE", "PAD", "PADV2", "STRIDED_SLICE", "SLICE", "TRANSPOSE", "EXPAND_DIMS", "SQUEEZE", "SPLIT",
    "RESIZE_NEAREST_NEIGHBOR", "MAX_POOL_2D", "REDUCE_MAX", "REDUCE_MIN", "MAXIMUM", "MINIMUM", "RELU", "RELU6",
    "SIGN", "ABS", "NEG",
)  # fmt: skip


def shaken(content: bytes, seed: int = 1) -> bytes | None:
    """Returns a TFLite artifact that moves each activation it rounds by a part of its step, anew in every run; None if
    it rounds none.

    Two kinds are rounded: results of 8 or 16 bits, whose step is the scale that the file states; and, in dynamic_int8,
    what an operation with 8-bit weights reads, whose step is its range on the photograph / 255.

    Args:
      content: a flatbuffer with one subgraph.
      seed: of the moves, above 0.
    """
    from tensorflow.lite.python import schema_py_generated as schema

    graph = _Graph(schema.ModelT.InitFromPackedBuf(content), seed)
    moved: dict[int, int] = {}
    integers = 0
    for operation in graph.taken():
        read = graph.rounded_inputs(operation)
        for source in set(read) - set(moved):
            moved[source] = graph.shake(source, graph.measured_step(source), REACH)
        operation.inputs = [moved[index] if index in read else index for index in operation.inputs]
        rounded = graph.rounded_outputs(operation)
        graph.append(operation)
        for target in rounded:
            graph.shake_result(operation, target)
        integers += len(rounded)
    if not moved and not integers:
        return None
    return graph.packed()


class _Graph:
    """A flatbuffer's only subgraph, written anew operation by operation."""

    def __init__(self, model: Any, seed: int) -> None:
        from tensorflow.lite.python import schema_py_generated as schema

        self._schema, self._model, self._graph, self._seed = schema, model, model.subgraphs[0], seed
        self._kinds = {value: name for name, value in vars(schema.BuiltinOperator).items() if name.isupper()}

    def taken(self) -> list[Any]:
        """Returns the operations and leaves none."""
        operations, self._graph.operators = self._graph.operators, []
        return operations

    def append(self, operation: Any) -> None:
        self._graph.operators.append(operation)

    def packed(self) -> bytes:
        import flatbuffers

        builder = flatbuffers.Builder(1024)
        builder.Finish(self._model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    def rounded_inputs(self, operation: Any) -> list[int]:
        """Floating-point inputs that a kernel rounds because its weights have 8 bits."""
        inputs = [index for index in operation.inputs if index >= 0]
        if not any(self._constant(index) and self._type(index) == self._schema.TensorType.INT8 for index in inputs):
            return []
        return [
            index
            for index in inputs
            if not self._constant(index) and self._type(index) == self._schema.TensorType.FLOAT32
        ]

    def rounded_outputs(self, operation: Any) -> list[int]:
        """Tensors of 8 or 16 bits that an operation computes and does not merely copy."""
        code = self._model.operatorCodes[operation.opcodeIndex]
        name = self._graph.tensors[operation.outputs[0]].name.decode()
        if self._kinds[max(code.builtinCode, code.deprecatedBuiltinCode)] in COPYING or re.search(PREPARING, name):
            return []
        integer = (self._schema.TensorType.INT8, self._schema.TensorType.INT16)
        return [index for index in operation.outputs if self._type(index) in integer and self._scale(index) is not None]

    def shake_result(self, operation: Any, target: int) -> None:
        """Moves an integer result in floating point and rounds it again; its readers stay as they are."""
        raw = self._tensor_like(target)
        operation.outputs = [raw if index == target else index for index in operation.outputs]
        integer_16 = self._type(target) == self._schema.TensorType.INT16
        value = self._add_operation("DEQUANTIZE", [raw], self._shape(target), version=3 if integer_16 else 2)
        moved = self.shake(value, self._constant_of(np.float32(self._scale(target))), REACH_ROUNDED)
        self._add_operation("QUANTIZE", [moved], None, version=2 if integer_16 else 1, output=target)

    def shake(self, source: int, step: int, reach: float) -> int:
        """Returns a tensor: `source` plus noise that is uniform within `reach` of the scalar tensor `step`.

        A zero stays: it has a code of its own, which every kernel gives to what an activation has cut off.
        """
        shape = self._shape(source)
        options = self._schema.RandomOptionsT()
        options.seed, options.seed2 = self._seed, len(self._graph.operators) + 1
        uniform = self._add_operation("RANDOM_UNIFORM", [self._constant_of(np.array(shape, np.int32))], shape, options)
        centred = self._binary("SUB", uniform, self._constant_of(np.float32(0.5)), shape)
        width = self._binary("MUL", step, self._constant_of(np.float32(2 * reach)), [])
        sign = self._add_operation("SIGN", [source], shape)
        noise = self._binary(
            "MUL", self._binary("MUL", centred, width, shape), self._binary("MUL", sign, sign, shape), shape
        )
        return self._binary("ADD", source, noise, shape)

    def measured_step(self, source: int) -> int:
        """Returns a scalar tensor: the range of `source`, which always holds 0, divided by LEVELS."""
        axes, zero = (
            self._constant_of(np.arange(len(self._shape(source)), dtype=np.int32)),
            self._constant_of(np.float32(0)),
        )
        reduced = {
            kind: self._add_operation(kind, [source, axes], [], self._schema.ReducerOptionsT())
            for kind in ("REDUCE_MAX", "REDUCE_MIN")
        }
        high = self._add_operation("MAXIMUM", [reduced["REDUCE_MAX"], zero], [], self._schema.MaximumMinimumOptionsT())
        low = self._add_operation("MINIMUM", [reduced["REDUCE_MIN"], zero], [], self._schema.MaximumMinimumOptionsT())
        return self._binary("MUL", self._binary("SUB", high, low, []), self._constant_of(np.float32(1 / LEVELS)), [])

    def _binary(self, kind: str, one: int, other: int, shape: Sequence[int]) -> int:
        options = getattr(self._schema, f"{kind.capitalize()}OptionsT")()
        return self._add_operation(kind, [one, other], shape, options)

    def _add_operation(
        self,
        kind: str,
        inputs: list[int],
        shape: Sequence[int] | None,
        options: Any = None,
        version: int = 1,
        output: int = -1,
    ) -> int:
        """Appends an operation; its result is a new float32 tensor of `shape`, or the tensor `output`."""
        operation = self._schema.OperatorT()
        operation.opcodeIndex, operation.inputs = self._code(kind, version), inputs
        target = output if shape is None else self._tensor(list(shape), self._schema.TensorType.FLOAT32)
        operation.outputs = [target]
        if options is not None:
            operation.builtinOptions = options
            operation.builtinOptionsType = getattr(
                self._schema.BuiltinOptions, type(options).__name__.removesuffix("T")
            )
        self.append(operation)
        return target

    def _code(self, kind: str, version: int) -> int:
        code = self._schema.OperatorCodeT()
        code.builtinCode, code.version = getattr(self._schema.BuiltinOperator, kind), version
        code.deprecatedBuiltinCode = min(code.builtinCode, 127)  # one byte, for readers of old
        self._model.operatorCodes.append(code)
        return len(self._model.operatorCodes) - 1

    def _constant_of(self, value: np.ndarray | np.generic) -> int:
        buffer = self._schema.BufferT()
        buffer.data = np.frombuffer(value.tobytes(), np.uint8)
        self._model.buffers.append(buffer)
        kind = self._schema.TensorType.INT32 if value.dtype == np.int32 else self._schema.TensorType.FLOAT32
        return self._tensor(list(value.shape), kind, len(self._model.buffers) - 1)

    def _tensor(self, shape: list[int], kind: int, buffer: int = 0) -> int:
        tensor = self._schema.TensorT()
        tensor.shape, tensor.type, tensor.buffer = shape, kind, buffer
        tensor.name = f"rounding_{len(self._graph.tensors)}".encode()
        self._graph.tensors.append(tensor)
        return len(self._graph.tensors) - 1

    def _tensor_like(self, index: int) -> int:
        copy = self._tensor(self._shape(index), self._type(index))
        self._graph.tensors[copy].quantization = self._graph.tensors[index].quantization
        return copy

    def _shape(self, index: int) -> list[int]:
        shape = self._graph.tensors[index].shape
        return [] if shape is None else [int(side) for side in shape]

    def _type(self, index: int) -> int:
        return self._graph.tensors[index].type

    def _constant(self, index: int) -> bool:
        data = self._model.buffers[self._graph.tensors[index].buffer].data
        return data is not None and len(data) > 0

    def _scale(self, index: int) -> float | None:
        quantization = self._graph.tensors[index].quantization
        scale = None if quantization is None else quantization.scale
        return None if scale is None or len(scale) != 1 else float(scale[0])
