"""Function-preserving rewrites of a trained Keras graph, so that phones run it fast in 8 bits.

XNNPACK runs HARD_SWISH in floating point only: left alone in an int8 graph, each of MobileNetV3's twenty falls back to
a slow kernel and cuts the graph in pieces. Written `x * relu6(x + 3)` it stays inside; the missing 1/6 is carried along
the graph as a factor and divided out of the kernel of the next convolution or dense layer, which costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from dr_edge.framework import keras

HARD_SWISH = ("hard_silu", "hard_swish")
# Operations f with f(c * x) = c * f(x) for c > 0.
HOMOGENEOUS = frozenset({
    "GlobalAveragePooling2D", "GlobalMaxPooling2D", "AveragePooling2D", "MaxPooling2D", "ZeroPadding2D", "Flatten",
    "Reshape", "Dropout", "SpatialDropout2D", "Identity", "LeakyReLU", "Mean", "Max", "Cropping2D", "UpSampling2D",
    "Permute",
})  # fmt: skip
SAME_FACTOR = frozenset({"Concatenate", "Add", "Subtract", "Average", "Maximum", "Minimum"})


def rebuild(model: keras.Model, batch: int | None, call: Callable[..., Any] | None = None) -> keras.Model:
    """Builds the graph of a functional model again for another batch size, sharing its layers and weights.

    Args:
      model: functional, one input [B, S, S, 3].
      batch: fixed batch size, or None for a dynamic one.
      call: `call(layer, *args, **kwargs)` in place of `layer(*args, **kwargs)`.

    Returns:
      A model of the same outputs.
    """
    reference = model.inputs[0]
    image = keras.Input(batch_shape=(batch, *reference.shape[1:]), dtype=reference.dtype, name=reference.name)
    # clone_model wants the input in the structure that the model was built with (a tensor or a list of one).
    structured = [image] if isinstance(model.input, list | tuple) else image
    return keras.models.clone_model(
        model, input_tensors=structured, clone_function=lambda layer: layer, call_function=call
    )


def integer_friendly(model: keras.Model, batch: int | None) -> keras.Model:
    """Rebuilds `model` with hard-swish as x * relu6(x + 3) and the factors folded into kernels.

    Args:
      model: functional, one input.
      batch: fixed batch size, or None for a dynamic one.

    Returns:
      A model that computes the same function (within float rounding).
    """
    folding = _FactorFolding()
    clone = rebuild(model, batch, folding)
    return keras.Model(clone.input, [folding.settle(output) for output in clone.outputs], name=model.name)


class HardSwishTimesSix(keras.layers.Layer):
    """Computes x * relu6(x + 3), six times hard-swish, in operations that XNNPACK runs in 8 bits."""

    def call(self, x: Any) -> Any:
        return x * keras.ops.relu6(x + 3.0)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape


class _FactorFolding:
    """Calls layers one after another and knows of each tensor by which factor it exceeds the original's."""

    def __init__(self) -> None:
        self._factors: dict[int, float] = {}
        self._tensors: list[Any] = []  # keeps the tensors alive, so that an id stays unique
        self._rescaled = 0
        self._copies: dict[tuple[int, float], keras.layers.Layer] = {}

    def _factor(self, tensor: Any) -> float:
        return self._factors.get(id(tensor), 1.0)

    def _mark(self, tensor: Any, factor: float) -> Any:
        self._factors[id(tensor)] = factor
        self._tensors.append(tensor)
        return tensor

    def settle(self, tensor: Any) -> Any:
        """Returns `tensor` divided by its factor, so that it equals the original's."""
        return self._times(tensor, 1.0 / self._factor(tensor))

    def _times(self, tensor: Any, factor: float) -> Any:
        if factor == 1.0:
            return tensor
        self._rescaled += 1
        return keras.layers.Rescaling(factor, name=f"factor_{self._rescaled}")(tensor)

    def __call__(self, layer: Any, *args: Any, **kwargs: Any) -> Any:
        kind = type(layer).__name__
        tensors = [value for value in keras.tree.flatten((args, kwargs)) if isinstance(value, keras.KerasTensor)]
        factors = [self._factor(tensor) for tensor in tensors]
        if kind == "Activation" and keras.activations.serialize(layer.activation) in HARD_SWISH:
            gate = HardSwishTimesSix(name=f"{layer.name}_times_six")
            return self._mark(gate(self.settle(tensors[0])), 6.0)
        if kind == "Multiply" and len(tensors) == 1 and len(args) == 2:
            constant = next((value for value in args if isinstance(value, int | float)), None)
            if constant is not None and constant > 0:
                # The constant is not multiplied at all: the tensor exceeds the original's by 1 / constant.
                # Identity (no operation after conversion) gives it an object of its own to carry that factor.
                return self._mark(keras.layers.Identity(name=f"{layer.name}_factor")(tensors[0]), factors[0] / constant)
        if all(factor == 1.0 for factor in factors):
            return layer(*args, **kwargs)
        if kind == "Multiply":
            return self._mark(layer(*args, **kwargs), float(np.prod(factors)))
        if kind in HOMOGENEOUS or (kind == "ReLU" and _is_plain_relu(layer)):
            return self._mark(layer(*args, **kwargs), factors[0])
        if kind in SAME_FACTOR and len(tensors) > 1:
            # The smaller ones are raised: where they come from a convolution, the converter folds that into its
            # kernel, whereas a division behind the hard-swish would be fused back into HARD_SWISH.
            largest = max(factors)
            raised = {
                id(tensor): self._times(tensor, largest / factor)
                for tensor, factor in zip(tensors, factors, strict=True)
            }
            args, kwargs = keras.tree.map_structure(lambda value: raised.get(id(value), value), (args, kwargs))
            return self._mark(layer(*args, **kwargs), largest)
        if kind in ("Conv2D", "DepthwiseConv2D", "Dense") and len(tensors) == 1:
            return self._with_scaled_kernel(layer, factors[0])(*args, **kwargs)
        args, kwargs = keras.tree.map_structure(
            lambda value: self.settle(value) if isinstance(value, keras.KerasTensor) else value, (args, kwargs)
        )
        return layer(*args, **kwargs)

    def _with_scaled_kernel(self, layer: keras.layers.Layer, factor: float) -> keras.layers.Layer:
        key = (id(layer), round(factor, 9))
        if key not in self._copies:
            copy = type(layer).from_config(layer.get_config())
            copy.build(layer.get_build_config()["input_shape"])
            kernel, *bias = layer.get_weights()
            copy.set_weights([kernel / np.float32(factor), *bias])
            self._copies[key] = copy
        return self._copies[key]


def _is_plain_relu(layer: Any) -> bool:
    return layer.max_value is None and not layer.threshold  # a slope below 0 does no harm
