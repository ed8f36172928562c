"""Conversion of the deployable graph to ONNX, laid out as ONNX Runtime wants it.

tf2onnx puts two Transpose nodes around each convolution and its own optimiser, which should remove them, stops at
scalar constants. ONNX Runtime's layout-agnostic optimisations ("basic": standard operations only) move and cancel
them reliably, so the graph goes through these once, here, and the file is portable.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dr_edge import scratch
from dr_edge.framework import keras
from export.converter_output import quiet_conversion
from export.graph import frozen
from export.graph.deployable import INPUT_NAME, NETWORK_NAME
from export.graph.not_made import FormatNotMadeError
from export.onnx import fusion

OPSET = 18


class NotExpressibleError(FormatNotMadeError):
    """A network holds an operation that ONNX, or ONNX Runtime, does not have."""


def convert_float32(model: keras.Model) -> bytes:
    """Converts the deployable graph to float32 ONNX.

    Args:
      model: [B, S, S, 3] uint8 -> dict of named outputs.

    Returns:
      The serialised ModelProto of opset 18; checked by onnx.checker.

    Raises:
      NotExpressibleError: an operation of the network has no ONNX counterpart that ONNX Runtime takes.
    """
    import onnx

    try:
        proto = _converted(model)
    except Exception as err:  # tf2onnx and ONNX Runtime have no exception of their own that all of theirs derive from
        raise NotExpressibleError(f"{type(err).__name__}: {err}") from err
    name_by_layer(proto)
    proto.producer_name = "dr_edge.export"
    onnx.checker.check_model(proto, full_check=True)
    return proto.SerializeToString(deterministic=True)


def _converted(model: keras.Model) -> Any:
    import tf2onnx

    function, names = frozen.freeze(*frozen.of_model(model))
    outputs = [tensor.name for tensor in function.outputs]
    source = function.inputs[0].name
    with quiet_conversion():
        proto, _ = tf2onnx.convert.from_graph_def(
            function.graph.as_graph_def(),
            input_names=[source],
            output_names=outputs,
            opset=OPSET,
            tensors_to_rename={source: INPUT_NAME, **dict(zip(outputs, names, strict=True))},
        )
    proto = fusion.fuse_hard_sigmoid(optimise(fusion.express_erfc(proto)))
    for _ in range(2):  # each round brings transposes to where the next can cancel them
        proto = fusion.reshape_trivial_transposes(fusion.share_transposes(proto))
        proto = fusion.drop_unused(optimise(proto))
    return fusion.use_global_pools(proto)


def name_by_layer(proto: Any) -> None:
    """Gives each node a unique name that tells its Keras layer, in place; fusions leave names that tell nothing.

    The layer stands in the node's own name, in that of its output or in that of its weights.
    """
    weights = {tensor.name for tensor in proto.graph.initializer}
    for index, node in enumerate(proto.graph.node):
        names = [node.name, *node.output, *(name for name in node.input if name in weights)]
        inside = [name for name in names if f"/{NETWORK_NAME}" in name]
        # All of them, as TFLite does: a convolution may be known by the normalisation that was folded into it.
        node.name = f"{';'.join(dict.fromkeys(inside or node.output))}/{index}"


def optimise(proto: Any) -> Any:
    """Runs ONNX Runtime's basic optimisations on a ModelProto and returns the result.

    They use standard operations only, cancel transposes and fold constants and batch normalisation into
    convolutions.
    """
    import onnx
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = 3
    with scratch.directory("onnx") as place:
        path = place / "optimised.onnx"
        options.optimized_model_filepath = str(path)
        onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
        optimised = onnx.load(path)
    _keep_domains(optimised, [node.domain for node in optimised.graph.node])
    return optimised


def _keep_domains(proto: Any, used: Sequence[str]) -> None:
    """Drops the operator sets that ONNX Runtime lists without need, so that any runtime reads the file."""
    kept = [entry for entry in proto.opset_import if entry.domain in {"", *used}]
    del proto.opset_import[:]
    proto.opset_import.extend(kept)
