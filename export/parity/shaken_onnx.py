"""A copy of an ONNX artifact that moves each activation it rounds; what for, `rounding` says."""

from __future__ import annotations

from typing import Any

from export.parity.shaken_tflite import REACH


def shaken(content: bytes, seed: int = 1) -> bytes | None:
    """Does what `shaken_tflite.shaken` does: before each node QuantizeLinear stands a move."""
    import onnx
    from onnx import helper

    proto = onnx.load_from_string(content)
    constants = {tensor.name for tensor in proto.graph.initializer}
    nodes: list[Any] = []
    for node in proto.graph.node:
        if node.op_type == "QuantizeLinear" and node.input[0] not in constants:
            value, name = node.input[0], f"{node.output[0]}_shaken"
            nodes += [
                helper.make_node(
                    "RandomUniformLike",
                    [value],
                    [f"{name}_u"],
                    low=-REACH,
                    high=REACH,
                    seed=float(seed + len(nodes)),
                    dtype=1,
                ),
                helper.make_node("Sign", [value], [f"{name}_s"]),
                helper.make_node("Abs", [f"{name}_s"], [f"{name}_a"]),
                helper.make_node("Mul", [f"{name}_u", f"{name}_a"], [f"{name}_m"]),
                helper.make_node("Mul", [f"{name}_m", node.input[1]], [f"{name}_n"]),
                helper.make_node("Add", [value, f"{name}_n"], [name]),
            ]
            node.input[0] = name
        nodes.append(node)
    if len(nodes) == len(proto.graph.node):
        return None
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)
    return proto.SerializeToString()
