"""The network's twin in tf_keras, in which quantisation-aware training rounds to int8 in the forward pass.

tensorflow-model-optimization knows tf_keras models only: the folded, integer-friendly Keras 3 graph is walked node by
node and built again. Unlike tfmot's defaults, whose ranges start at [-6, 6] and drift for thousands of steps, each
output's range starts where the float network's activations lie.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from dr_edge.framework import keras, tf
from export.graph import rewrite
from export.graph.folding import fold
from export.graph.not_made import FormatNotMadeError
from export.qat.quantizers import CalibratedQuantizer, KernelQuantizer, LayerConfig
from export.qat.tfmot import tf_keras, tfmot

DROPPED = ("initializer", "regularizer", "constraint", "dtype", "quantization_config", "lora_rank", "lora_alpha")
FREE_OF_RANGE = ("MaxPooling2D", "ZeroPadding2D", "Reshape", "Flatten", "UpSampling2D")  # keep their input's range
SAME_CLASS = (
    "Conv2D", "DepthwiseConv2D", "Dense", "ReLU", "Activation", "Add", "Multiply", "Concatenate", "ZeroPadding2D",
    "GlobalAveragePooling2D", "GlobalMaxPooling2D", "AveragePooling2D", "MaxPooling2D", "Reshape", "Flatten",
    "UpSampling2D", "Rescaling",
)  # fmt: skip


class Function(tf_keras.layers.Layer):
    """A layer without weights that computes one of the few functions that Keras 3 writes as bare operations."""

    KINDS: Mapping[str, Callable[[tf.Tensor, float], tf.Tensor]] = {
        "shift": lambda x, value: x + value,
        "scale": lambda x, value: x * value,
        "channel_mean": lambda x, _: tf.reduce_mean(x, axis=-1, keepdims=True),
        "channel_max": lambda x, _: tf.reduce_max(x, axis=-1, keepdims=True),
        "identity": lambda x, _: tf.identity(x),
    }

    def __init__(self, kind: str, value: float = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.kind, self.value = kind, value

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return self.KINDS[self.kind](x, self.value)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "kind": self.kind, "value": self.value}


SCOPE = {cls.__name__: cls for cls in (Function, CalibratedQuantizer, KernelQuantizer, LayerConfig)}


def quantised_twin(network: keras.Model, images: np.ndarray, head: Sequence[str]) -> tf_keras.Model:
    """Builds the tf_keras model that trains with int8 rounding.

    Args:
      network: flat functional Keras 3 model of the outputs that are wanted, [B, S, S, 3] float32 0..255.
      images: [N, S, S, 3] float32 0..255 preprocessed training images, to measure ranges.
      head: names of the layers behind the last feature map, which stay in floating point.

    Returns:
      A model of the same outputs, in the same order.

    Raises:
      FormatNotMadeError: the network has a layer that has no 8-bit twin here; names it.
    """
    plain = _twin(fold(rewrite.integer_friendly(network, None)))
    left = {layer.name for layer in plain.layers if layer.name.split("/")[0] in head}
    left |= {
        layer.name
        for layer in plain.layers
        if isinstance(layer, tf_keras.layers.InputLayer | tf_keras.layers.Rescaling)
    }
    ranges = _ranges(plain, [layer for layer in plain.layers if layer.name not in left], images)

    def annotate(layer: Any) -> Any:
        if layer.name in left:
            return layer
        free = type(layer).__name__ in FREE_OF_RANGE
        config = LayerConfig(None, None) if free else LayerConfig(*ranges[layer.name])
        return tfmot.quantization.keras.quantize_annotate_layer(layer, config)

    with tf_keras.utils.custom_object_scope(SCOPE):
        annotated = tf_keras.models.clone_model(plain, clone_function=annotate)
        model = tfmot.quantization.keras.quantize_apply(annotated)
    # The kernels' ranges are those of the last training step; without one they would be [-6, 6].
    model(tf.constant(images[:2]), training=True)
    return model


def _twin(network: keras.Model) -> tf_keras.Model:
    """Builds a Keras 3 graph again in tf_keras, with the same weights."""
    shape = network.inputs[0].shape[1:]
    image = tf_keras.Input(shape, name="image")
    twins: dict[int, Any] = {}
    kept: list[Any] = []
    layers: dict[int, Any] = {}

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        output = layer(*args, **kwargs)
        tensors = [value for value in keras.tree.flatten((args, kwargs)) if isinstance(value, keras.KerasTensor)]
        constants = [value for value in args if isinstance(value, int | float)]
        inputs = [twins.get(id(tensor), image) for tensor in tensors]
        twins[id(output)] = _call_twin(layer, inputs, constants, layers)
        kept.append((output, tensors))
        return output

    rebuilt = rewrite.rebuild(network, None, call)
    return tf_keras.Model(image, [twins[id(output)] for output in rebuilt.outputs], name=network.name)


def _call_twin(layer: Any, inputs: list[Any], constants: list[float], layers: dict[int, Any]) -> Any:
    kind = type(layer).__name__
    if kind == "HardSwishTimesSix":
        shifted = Function("shift", 3.0, name=f"{layer.name}_shift")(inputs[0])
        gate = tf_keras.layers.ReLU(6.0, name=f"{layer.name}_gate")(shifted)
        return tf_keras.layers.Multiply(name=layer.name)([inputs[0], gate])
    if kind in ("Add", "Multiply") and len(inputs) == 1 and len(constants) == 1:
        return Function("shift" if kind == "Add" else "scale", float(constants[0]), name=layer.name)(inputs[0])
    if kind in ("Mean", "Max") and layer.keepdims and np.ravel(layer.axis).tolist() in ([-1], [3]):
        return Function(f"channel_{kind.lower()}", name=layer.name)(inputs[0])
    if kind == "Identity":
        return Function("identity", name=layer.name)(inputs[0])
    if kind not in SAME_CLASS:
        raise FormatNotMadeError(f"quantisation-aware training has no 8-bit twin for layer {layer.name!r} ({kind})")
    if id(layer) not in layers:
        layers[id(layer)] = getattr(tf_keras.layers, kind).from_config(_config(layer))
    twin = layers[id(layer)]
    output = twin(inputs if len(inputs) > 1 else inputs[0])
    if layer.weights:
        twin.set_weights(layer.get_weights())
    # The first rescaling stays in floating point; what it gives is quantised as the network's input.
    return Function("identity", name=f"{layer.name}_input")(output) if kind == "Rescaling" else output


def _config(layer: Any) -> dict[str, Any]:
    config = {key: value for key, value in layer.get_config().items() if not key.endswith(DROPPED)}
    if "negative_slope" in config:
        config["negative_slope"] = float(config["negative_slope"])
    return config


def _ranges(model: tf_keras.Model, layers: Sequence[Any], images: np.ndarray) -> dict[str, tuple[float, float]]:
    """Returns the minimum and maximum of each layer's outputs on the images, 0 included."""
    tensors = [
        (layer.name, layer.get_output_at(index)) for layer in layers for index in range(len(layer.inbound_nodes))
    ]
    probe = tf.function(tf_keras.Model(model.input, [tensor for _, tensor in tensors]))
    ranges = {name: (0.0, 0.0) for name, _ in tensors}
    for start in range(0, len(images), 8):
        for (name, _), value in zip(tensors, probe(images[start : start + 8]), strict=True):
            low, high = ranges[name]
            ranges[name] = (min(low, float(tf.reduce_min(value))), max(high, float(tf.reduce_max(value))))
    return {name: (low, max(high, low + 1e-3)) for name, (low, high) in ranges.items()}
