"""static_int8 TFLite: calibrated on training photographs, quantised, and measured layer by layer.

The network is in 8 bits; everything outside it (Graham normalisation) and its dense end (dense_end.py) stay in
floating point. That costs little time, and distances, ratios and a gain of 4 do not survive 8 bits.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from export.converter_output import quiet_conversion
from export.graph.dense_end import INSIDE, Node, dense_end
from export.graph.deployable import NETWORK_NAME
from export.tflite import ranges
from export.tflite.convert import Photographs, calibrating_converter, check_operations

MEASURED_PHOTOGRAPHS = 4  # each runs through reference kernels: a second at 512 px


def calibrate(saved_model: str | os.PathLike, photographs: Photographs) -> Any:
    """Measures the ranges of all activations (see ranges.py).

    Args:
      saved_model: the integer-friendly deployable graph as `frozen.save` wrote it.
      photographs: gives an iterator over [1, S, S, 3] uint8 training photographs.

    Returns:
      A tf.lite.experimental.QuantizationDebugger, for `quantise` and `layer_errors`.

    Raises:
      ValueError: no photographs.
    """
    from dr_edge.framework import tf

    def few() -> Any:
        for photograph in itertools.islice(photographs(), MEASURED_PHOTOGRAPHS):
            yield [photograph]

    def one() -> Any:
        return itertools.islice(photographs(), 1)

    with quiet_conversion():
        # One photograph lets TensorFlow write the model; its ranges are then replaced.
        converter = calibrating_converter(saved_model, one, "static_int8")
        debugger = tf.lite.experimental.QuantizationDebugger(converter=converter, debug_dataset=few)
        spreads = ranges.measure(debugger.calibrated_model, list(photographs()))
    chosen = {index: ranges.chosen_range(spread) for index, spread in spreads.items()}
    debugger.calibrated_model = ranges.with_ranges(debugger.calibrated_model, chosen)
    return debugger


def quantise(calibrated: Any, head: Sequence[str] = (), float_layers: Sequence[str] = ()) -> bytes:
    """Quantises to per-channel 8-bit weights and 8-bit activations.

    Args:
      calibrated: from `calibrate`.
      head: names of the head's layers (DeployableGraph.head), which stay in floating point.
      float_layers: names of other layers to leave in floating point, such as those that `layer_errors` finds.

    Returns:
      The flatbuffer; its input is uint8, its outputs are float32.

    Raises:
      ValueError: an unknown layer, or the result holds an operation that phones lack.
    """
    from dr_edge.framework import tf

    operations = nodes_of(calibrated.calibrated_model)
    nodes = float_nodes([node.name for node in operations], dense_end(operations), head, float_layers)
    with quiet_conversion():
        calibrated.options = tf.lite.experimental.QuantizationDebugOptions(
            denylisted_nodes=nodes, layer_direct_compare_metrics={"snr_db": signal_to_noise}
        )
        content = calibrated.get_nondebug_quantized_model()
    check_operations(content)
    return content


def layer_errors(calibrated: Any) -> list[dict[str, Any]]:
    """Measures how much of each operation's signal its own rounding to 8 bits leaves.

    Each operation runs on the same inputs in 8 bits and in floating point, so an error shows where it arises.

    Args:
      calibrated: from `calibrate`, after `quantise`.

    Returns:
      {"layer": Keras layer, "operation": TFLite name, "snr_db": signal-to-noise ratio in dB}, the worst first.
    """
    with quiet_conversion():
        calibrated.run()
    rows = []
    for name, values in calibrated.layer_statistics.items():
        ratio = float(values["snr_db"])
        if np.isfinite(ratio):
            # The debugger calls it NumericVerify/<operation><port>:<number>.
            operation = re.sub(r"\d*:\d+$", "", name.removeprefix("NumericVerify/").split(";")[0])
            rows.append({"layer": layer_of(operation), "operation": operation, "snr_db": round(ratio, 2)})
    return sorted(rows, key=lambda row: row["snr_db"])


def signal_to_noise(exact: np.ndarray, quantised: np.ndarray, scale: float, zero_point: int) -> float:
    """Returns the signal-to-noise ratio of a quantised tensor in dB; NaN where there is no signal or no noise."""
    noise = np.mean(np.square(exact - (quantised.astype(np.float32) - zero_point) * scale))
    signal = np.mean(np.square(exact))
    return float(10 * np.log10(signal / noise)) if signal > 0 and noise > 0 else float("nan")


def layer_of(name: str) -> str:
    """Returns the Keras layer of a TFLite tensor ("deployable_1/network_1/<layer>_1/...;..."), or "" outside it."""
    found = re.search(rf"/{NETWORK_NAME}(?:_\d+)?/([^/;]+?)(?:_\d+)?(?:/|;|$)", name)
    return found.group(1) if found else ""


def float_nodes(
    names: Sequence[str], end: Collection[str], head: Sequence[str], float_layers: Sequence[str]
) -> list[str]:
    """Chooses the operations that stay in floating point: outside the network, its end, and the named layers.

    Args:
      names: of the operations' outputs, as the converter calls them ("deployable_1/network_1/<layer>_1/...;...").
      end: those of the network's dense end.
      head: names of the head's layers.
      float_layers: names of other Keras layers.

    Raises:
      ValueError: a layer of which the graph holds no operation.
    """
    kept = {name for name in names if not re.search(INSIDE, name)} | set(end)
    for layer in (*head, *float_layers):
        own = {name for name in names if re.search(rf"{INSIDE}{re.escape(layer)}(_\d+)?(/|;|$)", name)}
        if not own and layer in float_layers:
            raise ValueError(f"No operation belongs to a layer {layer!r}, so it cannot be left in floating point.")
        kept |= own
    return [name for name in names if name in kept]


def nodes_of(content: bytes) -> list[Node]:
    """Returns the operations of a flatbuffer, each named by its first output, in the order of execution."""
    from tensorflow.lite.python import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(content)
    graph = model.subgraphs[0]
    shapes = [[] if tensor.shape is None else list(tensor.shape) for tensor in graph.tensors]
    constant = [model.buffers[tensor.buffer].data is not None for tensor in graph.tensors]
    nodes = []
    for operation in graph.operators:
        inputs = [index for index in operation.inputs if index >= 0]
        weights = sum(int(np.prod(shapes[index])) for index in inputs if constant[index])
        first = operation.outputs[0]
        name = graph.tensors[first].name.decode()
        nodes.append(Node(name, tuple(inputs), tuple(operation.outputs), len(shapes[first]), weights))
    return nodes
