"""Ranges of activations for 8-bit TFLite, measured here and not by TensorFlow's calibrator.

TensorFlow 2.21's calibrator reads the inputs of an operation after it has run. Kernels that work in place (ADD, MUL,
RELU ...) have overwritten them by then, so the gate of a hard-swish, relu6(x + 3) in 0..6, is recorded with the range
of the product, for example -2..200, and is left with five levels. Here every tensor is kept until it is read.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

BINS = 1024
MOST_VALUES = 20_000  # of a tensor and photograph that the histogram counts
SHRINK = np.linspace(1.0, 0.3, 15)  # candidate limits, as parts of the extreme values
LEVELS = 255


@dataclasses.dataclass
class Spread:
    """What was seen of one tensor: its extremes and a histogram between them."""

    low: float
    high: float
    counts: np.ndarray


def measure(content: bytes, photographs: Iterable[np.ndarray]) -> dict[int, Spread]:
    """Measures each tensor of a calibrated float model.

    Args:
      content: flatbuffer; tensors with recorded minimum and maximum are measured.
      photographs: [1, S, S, 3] uint8; read twice, so no iterator.

    Returns:
      Tensor index -> spread.

    Raises:
      ValueError: no photographs, or a tensor is not finite.
    """
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    graph = _unpacked(content).subgraphs[0]
    wanted = [index for index, tensor in enumerate(graph.tensors) if _has_range(tensor)]
    interpreter = Interpreter(
        model_content=content,
        experimental_preserve_all_tensors=True,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    interpreter.allocate_tensors()
    source = interpreter.get_input_details()[0]["index"]

    def tensors() -> Iterable[dict[int, np.ndarray]]:
        for photograph in photographs:
            interpreter.set_tensor(source, photograph)
            interpreter.invoke()
            yield {index: interpreter.get_tensor(index).ravel() for index in wanted}

    low, high = (np.full(len(graph.tensors), value) for value in (np.inf, -np.inf))
    for values in tensors():
        for index, value in values.items():
            low[index], high[index] = min(low[index], value.min()), max(high[index], value.max())
    if wanted and not np.isfinite([low[wanted], high[wanted]]).all():
        raise ValueError("Calibration needs photographs on which every activation is finite; some are not.")
    spreads = {index: Spread(float(low[index]), float(high[index]), np.zeros(BINS)) for index in wanted}
    for values in tensors():
        for index, value in values.items():
            spread = spreads[index]
            if spread.high > spread.low:
                spread.counts += histogram(value, spread.low, spread.high)
    return spreads


def histogram(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Counts at most MOST_VALUES of [N] float32 values in BINS bins between low and high."""
    step = -(-values.size // MOST_VALUES)
    # In double precision: between neighbouring float32 values there is no room for the bins' edges.
    return np.histogram(values[::step].astype(np.float64), BINS, (low, high))[0]


def chosen_range(spread: Spread) -> tuple[float, float]:
    """Chooses the range to quantise: halfway between all that was seen and the range of the smallest error.

    The extremes leave ordinary values few levels; the smallest error clips the extremes, which carry the surest
    answers. Over three trained networks the middle came out best.

    Args:
      spread: of one tensor.

    Returns:
      (minimum, maximum); holds 0.
    """
    low, high = best_range(spread)
    return (low + min(spread.low, 0.0)) / 2, (high + max(spread.high, 0.0)) / 2


def best_range(spread: Spread) -> tuple[float, float]:
    """Finds the range with the smallest mean squared error of 8-bit rounding and clipping; it holds 0.

    Args:
      spread: of one tensor.

    Returns:
      (minimum, maximum).
    """
    low, high = min(spread.low, 0.0), max(spread.high, 0.0)
    if high - low <= 0 or not spread.counts.any():
        return low, high
    centres = spread.low + (np.arange(BINS) + 0.5) * (spread.high - spread.low) / BINS
    share = spread.counts / spread.counts.sum()
    below = [low * part for part in (SHRINK if low < 0 else SHRINK[:1])]
    above = [high * part for part in (SHRINK if high > 0 else SHRINK[:1])]
    # Clipping below and above are independent; rounding depends on the sum of both limits.
    cut_low = [float(share @ np.square(np.minimum(centres - limit, 0))) for limit in below]
    cut_high = [float(share @ np.square(np.maximum(centres - limit, 0))) for limit in above]
    errors = [
        [cut_low[i] + cut_high[j] + np.square((above[j] - below[i]) / LEVELS) / 12 for j in range(len(above))]
        for i in range(len(below))
    ]
    i, j = np.unravel_index(int(np.argmin(errors)), (len(below), len(above)))
    return float(below[i]), float(above[j])


def with_ranges(content: bytes, ranges: Mapping[int, tuple[float, float]]) -> bytes:
    """Returns the flatbuffer with the recorded ranges of some tensors replaced.

    Args:
      content: flatbuffer of a calibrated float model.
      ranges: tensor index -> (minimum, maximum).
    """
    import flatbuffers

    model = _unpacked(content)
    for index, (low, high) in ranges.items():
        quantization = model.subgraphs[0].tensors[index].quantization
        quantization.min, quantization.max = np.array([low], np.float32), np.array([high], np.float32)
    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def _unpacked(content: bytes) -> Any:
    from tensorflow.lite.python import schema_py_generated as schema

    return schema.ModelT.InitFromPackedBuf(content)


def _has_range(tensor: Any) -> bool:
    return tensor.quantization is not None and tensor.quantization.min is not None and len(tensor.quantization.min) == 1
