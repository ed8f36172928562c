"""Conversions of the deployable graph to TFLite: float32, float16, dynamic_int8, qat_int8, int16x8.

All have a fixed batch of 1 and one signature with named outputs; none holds a Flex operation. static_int8 is made by
tflite_int8.py.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from export.converter_output import quiet_conversion
from export.graph.not_made import FormatNotMadeError

Photographs = Callable[[], Iterator[np.ndarray]]


def convert_float(saved_model: str | os.PathLike, variant: str) -> bytes:
    """Converts to float32, float16 or dynamic_int8 TFLite.

    Args:
      saved_model: the deployable graph as `frozen.save` wrote it.
      variant: "float32", "float16" (weights stored in 16 bits) or "dynamic_int8" (weights in 8 bits).

    Returns:
      The flatbuffer.

    Raises:
      ValueError: another variant, or the result holds an operation that phones lack.
    """
    from dr_edge.framework import tf

    if variant not in ("float32", "float16", "dynamic_int8"):
        raise ValueError(f"convert_float makes float32, float16 or dynamic_int8. Received: {variant!r}.")
    with quiet_conversion():
        converter = tf.lite.TFLiteConverter.from_saved_model(str(saved_model))
        if variant != "float32":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        # Per-channel dense layers would need FULLY_CONNECTED version 12, which tflite-runtime 2.14 does not have.
        converter._experimental_disable_per_channel_quantization_for_dense_layers = True
        if variant == "float16":
            converter.target_spec.supported_types = [tf.float16]
        content = converter.convert()
    check_operations(content)
    return content


def convert_qat_int8(saved_model: str | os.PathLike) -> bytes:
    """Converts a graph that was trained with the rounding of int8; its ranges stand in the graph.

    Args:
      saved_model: the deployable graph around a quantised twin (see finetuning.py), as `frozen.save` wrote it.

    Returns:
      The flatbuffer; its input is uint8, its outputs are float32.

    Raises:
      ValueError: the result holds an operation that phones lack.
    """
    from dr_edge.framework import tf

    with quiet_conversion():
        converter = tf.lite.TFLiteConverter.from_saved_model(str(saved_model))
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        content = converter.convert()
    check_operations(content)
    return content


def convert_int16x8(saved_model: str | os.PathLike, photographs: Photographs) -> bytes:
    """Converts to TFLite with 8-bit weights and 16-bit activations, for accelerators that want them.

    Args:
      saved_model: the deployable graph for PHONE_INT16 as `frozen.save` wrote it.
      photographs: gives an iterator over [1, S, S, 3] uint8 training photographs.

    Returns:
      The flatbuffer; its input is uint8, its outputs are float32.

    Raises:
      ValueError: no photographs, or the result holds an operation that phones lack, at all or in 16 bits.
    """
    from dr_edge.framework import tf

    with quiet_conversion():
        converter = calibrating_converter(saved_model, photographs, "int16x8")
        # Of 16-bit dense layers with a scale per channel tflite-runtime 2.14 takes the first for all, and says nothing.
        converter._experimental_disable_per_channel_quantization_for_dense_layers = True
        ops_set = tf.lite.OpsSet
        converter.target_spec.supported_ops = [
            ops_set.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8,
            ops_set.TFLITE_BUILTINS,  # what has no 16-bit kernel stays in floating point
        ]
        content = converter.convert()
    check_operations(content)
    _check_runs(content, next(photographs()))
    return content


def _check_runs(content: bytes, photograph: np.ndarray) -> None:
    """Raises ForeignOperationsError where LiteRT has no kernel for the number format of an operation.

    The converter writes such graphs (layer normalisation in 16 bits, as in a ViT), and loading them tells nothing.
    """
    from ai_edge_litert.interpreter import Interpreter

    with quiet_conversion():
        try:
            interpreter = Interpreter(model_content=content)
            interpreter.allocate_tensors()
            interpreter.set_tensor(interpreter.get_input_details()[0]["index"], photograph)
            interpreter.invoke()
        except RuntimeError as err:
            reason = str(err).strip().replace("\n", " ")
            raise ForeignOperationsError(f"LiteRT cannot run the graph: {reason}") from err


def calibrating_converter(saved_model: str | os.PathLike, photographs: Photographs, name: str) -> Any:
    """Returns a TFLiteConverter that will calibrate on the photographs; ValueError where there are none."""
    from dr_edge.framework import tf

    if next(photographs(), None) is None:
        raise ValueError(f"{name} needs training photographs to calibrate. Received: none.")

    def representative() -> Iterator[list[np.ndarray]]:
        for photograph in photographs():
            yield [photograph]

    converter = tf.lite.TFLiteConverter.from_saved_model(str(saved_model))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = representative
    return converter


def minimum_runtime(content: bytes) -> str:
    """Returns the TensorFlow Lite version that a flatbuffer states as the oldest that has all its operations."""
    from tensorflow.lite.python import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(content)
    for entry in model.metadata or ():
        if entry.name == b"min_runtime_version":
            return bytes(model.buffers[entry.buffer].data).rstrip(b"\0").decode()
    raise ValueError("The flatbuffer states no min_runtime_version. Convert it again.")


class ForeignOperationsError(FormatNotMadeError):
    """A graph came out with operations that a phone's runtime lacks."""


def check_operations(content: bytes) -> None:
    """Raises ForeignOperationsError where a model holds Flex or custom operations, which a phone's runtime lacks."""
    from tensorflow.lite.python import schema_py_generated as schema

    foreign = sorted(
        {code.customCode.decode() for code in schema.ModelT.InitFromPackedBuf(content).operatorCodes if code.customCode}
    )
    if foreign:
        raise ForeignOperationsError(f"The TFLite graph holds operations that phones lack: {', '.join(foreign)}.")


def converter_errors() -> type[Exception]:
    """Returns the exception with which the converter refuses a graph."""
    from tensorflow.lite.python.convert import ConverterError

    return ConverterError
