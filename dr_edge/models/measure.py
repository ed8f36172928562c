"""Parameters and multiply-accumulate operations (MACs) of the registered networks, and the file that keeps them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from dr_edge import metadata
from dr_edge.models import registry
from dr_edge.models.listing import MEASURED, ROWS, read
from dr_edge.models.registry import MODEL, Entry


def macs(model: Any) -> int:
    """Counts the MACs of one image: those of convolutions and matrix products, as the literature does.

    Counted in the TensorFlow graph of a Keras model, whatever its layers are called. Normalisation, activations, pools
    and resizing add a few percent of simpler operations.

    Args:
      model: one input, [B, S, S, 3].

    Raises:
      ValueError: a product of which the shapes are not known.
    """
    from dr_edge.framework import tf

    spec = tf.TensorSpec((1, *model.inputs[0].shape[1:]), tf.float32)
    traced = tf.function(lambda image: model(image, training=False), input_signature=[spec]).get_concrete_function()
    inner = [op for function in traced.graph._functions.values() for op in function.graph.get_operations()]
    return sum(_COUNTED[op.type](op) for op in [*traced.graph.get_operations(), *inner] if op.type in _COUNTED)


def measure(entry: Entry) -> dict[str, int]:
    """Builds a network at its default size; returns its "parameters" and "macs"."""
    from dr_edge.framework import keras

    model = registry.build(entry)
    found = {"parameters": int(model.count_params()), "macs": macs(model)}
    keras.backend.clear_session()
    return found


def stated(entry: Entry) -> dict[str, Any]:
    """Returns what the registration says of a network, as measured.json keeps it."""
    formats = list(entry.formats) if entry.kind == MODEL else _formats_of(entry)
    return {
        "name": entry.name, "kind": entry.kind, "gin": entry.configurable, "bindings": list(entry.bindings),
        "task": entry.task, "image_size": entry.image_size, "outputs": entry.outputs, "backbone": entry.backbone,
        "weights": entry.weights, "formats": formats, "heat_map": entry.heat_map, "extra": entry.extra,
    }  # fmt: skip


def write(names: Iterable[str] = ()) -> list[dict[str, Any]]:
    """Measures the networks and writes measured.json; returns its rows.

    Args:
      names: measure only these; the others keep their figures. None given: measure all.

    Raises:
      ValueError: a name that nothing has, or a network without figures that is not measured.
    """
    listed, wanted = registry.entries(), set(names)
    unknown = sorted(wanted - {entry.name for entry in listed})
    if unknown:
        raise ValueError(registry.unknown(unknown[0], sorted({entry.name for entry in listed}), "network"))
    kept = {(row["kind"], row["name"]): row for row in (read() if MEASURED.exists() else [])}
    rows = []
    for entry in listed:
        before = kept.get((entry.kind, entry.name))
        if before is None or not wanted or entry.name in wanted:
            figures = measure(entry)
        else:
            figures = {key: before[key] for key in ("parameters", "macs")}
        rows.append(stated(entry) | figures)
    metadata.write_json(MEASURED, {ROWS: rows})
    return rows


def _formats_of(part: Entry) -> list[str]:
    """Returns the formats that are tested of any model on a backbone or encoder."""
    claimed = [entry.formats for entry in registry.entries(MODEL) if entry.backbone == part.name]
    claimed.sort(key=len, reverse=True)
    return list(dict.fromkeys(name for formats in claimed for name in formats))


def _convolution(op: Any) -> int:
    height, width, inputs, _ = _shape(op.inputs[1])  # inputs: of a group
    return _size(op.outputs[0]) * height * width * inputs


def _depthwise(op: Any) -> int:
    height, width, _, _ = _shape(op.inputs[1])
    return _size(op.outputs[0]) * height * width


def _product(op: Any) -> int:
    transposed = op.get_attr("transpose_a" if op.type == "MatMul" else "adj_x")
    return _size(op.outputs[0]) * _shape(op.inputs[0])[-2 if transposed else -1]


def _einsum(op: Any) -> int:
    terms = op.get_attr("equation").decode().partition("->")[0].split(",")
    if len(terms) != 2 or "." in "".join(terms):
        raise ValueError(f"Cannot count {op.name}: an einsum of {op.get_attr('equation')!r}.")
    sides = {
        letter: side
        for term, tensor in zip(terms, op.inputs, strict=True)
        for letter, side in zip(term, _shape(tensor), strict=True)
    }
    return math.prod(sides.values())


def _size(tensor: Any) -> int:
    return math.prod(_shape(tensor))


def _shape(tensor: Any) -> list[int]:
    if not tensor.shape.is_fully_defined():
        raise ValueError(f"Cannot count {tensor.op.name}: its shape is {tensor.shape}.")
    return tensor.shape.as_list()


_COUNTED = {
    "Conv2D": _convolution,
    "DepthwiseConv2dNative": _depthwise,
    "MatMul": _product,
    "BatchMatMulV2": _product,
    "Einsum": _einsum,
}
