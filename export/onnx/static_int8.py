"""Static int8 ONNX: quantise-dequantise nodes around the network's operations, per-channel weights."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import numpy as np

from dr_edge import scratch
from export.converter_output import quiet_conversion
from export.graph.dense_end import VECTOR_RANK, Node, dense_end
from export.graph.deployable import INPUT_NAME, NETWORK_NAME

# Weights have no sign, their zero stands at 128: on x86-64 without VNNI, ONNX Runtime adds pairs of products of a byte
# without sign and one with in 16 bits, which overflow in silence (a probability moved by 0.25 on AVX2). Two without go
# another way.
WEIGHTS = "QUInt8"
QUANTISED = ("Conv", "MatMul", "Gemm", "Add", "Mul", "Clip", "Relu", "GlobalAveragePool", "MaxPool", "Concat", "Pad")


def quantise(
    content: bytes,
    photographs: Callable[[], Iterator[np.ndarray]],
    head: Sequence[str] = (),
    float_layers: Sequence[str] = (),
) -> bytes:
    """Quantises a float32 ONNX graph to 8 bits with ranges measured on photographs.

    Args:
      content: ModelProto of the integer-friendly deployable graph, as `onnx.convert_float32` gives it.
      photographs: gives an iterator over [1, S, S, 3] uint8 training photographs.
      head: names of the head's layers, which stay in floating point like everything outside the network.
      float_layers: names of other layers to leave in floating point.

    Returns:
      The serialised ModelProto.

    Raises:
      ValueError: no photographs, or a layer of which the graph holds no node.
    """
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    if next(photographs(), None) is None:
        raise ValueError("onnx_static_int8 needs training photographs to calibrate. Received: none.")

    class Reader(CalibrationDataReader):
        """Feeds the photographs one by one."""

        def __init__(self) -> None:
            self._photographs = photographs()

        def get_next(self) -> dict[str, np.ndarray] | None:
            photograph = next(self._photographs, None)
            return None if photograph is None else {INPUT_NAME: photograph}

    proto = onnx.load_from_string(content)
    end = dense_end(_nodes_of(proto))
    excluded = _float_nodes([node.name for node in proto.graph.node], end, head, float_layers)
    with scratch.directory("onnx") as place, quiet_conversion():
        source, target = place / "float.onnx", place / "int8.onnx"
        source.write_bytes(content)
        quantize_static(
            source,
            target,
            Reader(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType[WEIGHTS],
            op_types_to_quantize=list(QUANTISED),
            nodes_to_exclude=excluded,
            extra_options={"ActivationSymmetric": False, "WeightSymmetric": True},
        )
        quantised = onnx.load(target)
    onnx.checker.check_model(quantised, full_check=True)
    return quantised.SerializeToString(deterministic=True)


def _nodes_of(proto: Any) -> list[Node]:
    import onnx

    inferred = onnx.shape_inference.infer_shapes(proto).graph
    ranks = {value.name: len(value.type.tensor_type.shape.dim) for value in (*inferred.value_info, *inferred.output)}
    sizes = {value.name: int(np.prod(value.dims)) for value in proto.graph.initializer}
    return [
        Node(
            node.name,
            tuple(node.input),
            tuple(node.output),
            ranks.get(node.output[0], VECTOR_RANK + 1),  # unknown: not called a vector
            sum(sizes.get(name, 0) for name in node.input),
        )
        for node in proto.graph.node
    ]


def _float_nodes(
    names: Sequence[str], end: Collection[str], head: Sequence[str], float_layers: Sequence[str]
) -> list[str]:
    """Chooses the nodes that stay in floating point: outside the network, its end, and the named layers."""

    def of(layer: str) -> set[str]:
        return {name for name in names if re.search(rf"/{re.escape(layer)}(_\d+)?(/|;|$)", name)}

    kept = (set(names) - of(NETWORK_NAME)) | set(end)
    for layer in (*head, *float_layers):
        own = of(layer)
        if not own and layer in float_layers:
            raise ValueError(f"No node belongs to a layer {layer!r}, so it cannot be left in floating point.")
        kept |= own
    return [name for name in names if name in kept]
