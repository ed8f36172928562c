"""The deployable graph as a TensorFlow graph of constants: what every converter starts from.

Converting a Keras model directly writes and reads a SavedModel with all its variables for each format: ten seconds each
on one core, against one and a half from a graph whose weights are constants already.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from dr_edge.framework import keras
from export.converter_output import quiet_conversion
from export.graph.deployable import INPUT_NAME

SIGNATURE = "serving_default"


def freeze(call: Callable[[Any], dict[str, Any]], shape: Sequence[int | None]) -> tuple[Any, list[str]]:
    """Traces a function once and turns its variables into constants.

    Args:
      call: from [B, S, S, 3] uint8 to named outputs, for example a Keras model.
      shape: of its input.

    Returns:
      A tf function of one tensor that gives a list of tensors, and the output names in that order.
    """
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    from dr_edge.framework import tf

    spec = tf.TensorSpec(shape, tf.uint8, name=INPUT_NAME)
    traced = tf.function(call, input_signature=[spec]).get_concrete_function()
    # A dict is flattened in the order of its sorted keys.
    return convert_variables_to_constants_v2(traced), sorted(traced.structured_outputs)


def save(call: Callable[[Any], dict[str, Any]], shape: Sequence[int | None], directory: str | os.PathLike) -> None:
    """Writes a SavedModel of constants with one signature of named input and outputs; arguments as in `freeze`."""
    from dr_edge.framework import tf

    with quiet_conversion():
        frozen, names = freeze(call, shape)
        spec = tf.TensorSpec(shape, tf.uint8, name=INPUT_NAME)
        named = tf.function(lambda image: dict(zip(names, frozen(image), strict=True)), input_signature=[spec])
        module = tf.Module()
        module.frozen = frozen  # keeps the constants alive
        # EfficientNet's swish has a custom gradient, which cannot be saved with a constant in it; nobody trains this
        # graph.
        options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
        signatures = {SIGNATURE: named.get_concrete_function()}
        tf.saved_model.save(module, str(directory), signatures=signatures, options=options)


def of_model(model: keras.Model) -> tuple[Callable[[Any], dict[str, Any]], Sequence[int | None]]:
    """Returns the arguments of `freeze` and `save` for a deployable Keras model."""
    return lambda image: model(image, training=False), model.inputs[0].shape
