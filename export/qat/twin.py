"""Quantisation-aware training: fine-tunes a finished run with the rounding of int8 in the forward pass.

tensorflow-model-optimization knows tf_keras models only, so this is the one module with tf_keras in it: the folded,
integer-friendly Keras 3 graph is walked node by node and built again. Unlike tfmot's defaults, whose ranges start at
[-6, 6] and drift for thousands of steps, each output's range starts where the float network's activations lie.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from dr_edge.framework import keras, tf
from export.graph import rewrite
from export.graph.folding import fold
from export.graph.heads import block_mask
from export.graph.not_made import FormatNotMadeError
from export.qat.tfmot import tf_keras, tfmot

quantizers = tfmot.quantization.keras.quantizers
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


class CalibratedQuantizer(quantizers.MovingAverageQuantizer):  # type: ignore[name-defined]
    """tfmot's moving average of minimum and maximum, starting at a measured range."""

    def __init__(self, low: float, high: float) -> None:
        super().__init__(num_bits=8, per_axis=False, symmetric=False, narrow_range=False)
        self.low, self.high = low, high

    def build(self, tensor_shape: Any, name: str, layer: Any) -> dict[str, Any]:
        def variable(end: str, value: float) -> Any:
            start = tf_keras.initializers.Constant(value)
            return layer.add_weight(f"{name}_{end}", initializer=start, trainable=False)

        return {"min_var": variable("min", self.low), "max_var": variable("max", self.high)}

    def get_config(self) -> dict[str, Any]:
        return {"low": self.low, "high": self.high}


class KernelQuantizer(quantizers.LastValueQuantizer):  # type: ignore[name-defined]
    """Symmetric 8-bit weights: per channel for convolutions, per tensor for depthwise ones and dense layers.

    tfmot divides along the last axis, which a depthwise kernel does not have its channels on; the converter then stores
    depthwise kernels per channel, that is, finer than they were trained.
    """

    def __init__(self, per_axis: bool) -> None:
        super().__init__(num_bits=8, per_axis=per_axis, symmetric=True, narrow_range=True)

    def get_config(self) -> dict[str, Any]:
        return {"per_axis": self.per_axis}


class LayerConfig(tfmot.quantization.keras.QuantizeConfig):  # type: ignore[name-defined]
    """Quantises a layer's kernel, if it has one, and its output."""

    def __init__(self, low: float | None, high: float | None) -> None:
        self.low, self.high = low, high

    def get_weights_and_quantizers(self, layer: Any) -> list[Any]:
        if isinstance(layer, tf_keras.layers.DepthwiseConv2D):
            return [(layer.depthwise_kernel, KernelQuantizer(False))]
        if isinstance(layer, tf_keras.layers.Conv2D | tf_keras.layers.Dense):
            return [(layer.kernel, KernelQuantizer(isinstance(layer, tf_keras.layers.Conv2D)))]
        return []

    def set_quantize_weights(self, layer: Any, quantize_weights: Sequence[Any]) -> None:
        if quantize_weights:
            name = "depthwise_kernel" if isinstance(layer, tf_keras.layers.DepthwiseConv2D) else "kernel"
            setattr(layer, name, quantize_weights[0])

    def get_activations_and_quantizers(self, layer: Any) -> list[Any]:
        return []

    def set_quantize_activations(self, layer: Any, quantize_activations: Sequence[Any]) -> None:
        if quantize_activations:
            raise ValueError(f"{layer.name}: activations are quantised at the output only.")

    def get_output_quantizers(self, layer: Any) -> list[Any]:
        if self.low is None or self.high is None:
            return []
        if isinstance(layer, tf_keras.layers.Activation) and layer.activation is tf_keras.activations.sigmoid:
            # TFLite's int8 LOGISTIC has this range and no other.
            return [quantizers.FixedQuantizer(8, 0.0, 255 / 256, False)]
        return [CalibratedQuantizer(self.low, self.high)]

    def get_config(self) -> dict[str, Any]:
        return {"low": self.low, "high": self.high}


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


class _Optimizer:
    """Lets a tf_keras optimizer take the place of a Keras 3 one in the training step."""

    def __init__(self, learning_rate: Any, masks: Mapping[Any, np.ndarray]) -> None:
        self._optimizer = tf_keras.optimizers.Adam(learning_rate)
        self._masks = masks  # by reference of a variable: 0 where it does not move

    def build(self, variables: Sequence[Any]) -> None:
        self._optimizer.build(variables)

    def apply(self, gradients: Sequence[Any], variables: Sequence[Any]) -> None:
        pairs = [
            (gradient, variable)
            for gradient, variable in zip(gradients, variables, strict=True)
            if gradient is not None
        ]
        # Without a gradient Adam's moments stay 0, and with them the step.
        self._optimizer.apply_gradients(
            [(gradient * self._masks.get(variable.ref(), 1.0), variable) for gradient, variable in pairs]
        )


def fine_tune(
    model: tf_keras.Model,
    batches: Callable[[int], Iterator[Mapping[str, Any]]],
    loss: Callable[[Any, Any], Any],
    evaluate: Callable[[tf_keras.Model], float],
    *,
    epochs: int,
    steps_per_epoch: int,
    learning_rate: float,
    batch_size: int,
    progress: Callable[[], None],
) -> list[float]:
    """Trains with the run's data and loss and leaves the best epoch's weights in the model; epoch 0 counts.

    Heads that are apart stay apart (see `block_mask`).

    Args:
      model: from `quantised_twin`; its first output is the logits.
      batches: epoch -> batches of {"image", "label"}.
      loss: (label, logits) -> [B].
      evaluate: model -> value on the validation split, lower is better.
      epochs, steps_per_epoch, learning_rate, batch_size: of the fine-tuning; the rate falls along a cosine.
      progress: called after each step.

    Returns:
      The validation value before training and after each epoch.

    Raises:
      FloatingPointError: the loss is not finite.
    """
    from dr_edge.training.step import build_train_step

    logits = tf_keras.Model(model.input, model.outputs[0])
    schedule = tf_keras.optimizers.schedules.CosineDecay(learning_rate, max(1, epochs * steps_per_epoch))
    kernels = [layer.kernel for layer in model.layers if layer.name == "logits"]
    masks = {kernel.ref(): mask for kernel in kernels if (mask := block_mask(kernel.numpy())) is not None}
    optimizer = _Optimizer(schedule, masks)
    optimizer.build(logits.trainable_variables)
    step = build_train_step(logits, optimizer, loss, tf.distribute.get_strategy(), batch_size)
    values, best = [evaluate(model)], model.get_weights()
    for epoch in range(epochs):
        for number, batch in enumerate(batches(epoch)):
            value = float(step(batch))
            if not np.isfinite(value):
                raise FloatingPointError(
                    f"The loss became {value} at step {number + 1} of epoch {epoch + 1} of quantisation-aware training."
                    " Lower export.qat.learning_rate."
                )
            progress()
        values.append(evaluate(model))
        if values[-1] <= min(values[:-1]):
            best = model.get_weights()
    model.set_weights(best)
    return values
