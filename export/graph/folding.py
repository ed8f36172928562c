"""Folds batch normalisation, constant factors and ReLU into the layers before them, keeping the function.

A converter does this by itself after training. For quantisation-aware training it has to be done before, so that what
is trained is what will run: one quantised output per convolution, behind its activation.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dr_edge.framework import keras
from export.graph.rewrite import rebuild

KERNELS = ("Conv2D", "DepthwiseConv2D", "Dense")


def fold(model: keras.Model, batch: int | None = None) -> keras.Model:
    """Rebuilds a functional model without batch normalisation, dropout and separate ReLU layers behind convolutions.

    Args:
      model: functional, one input; it computes as at inference.
      batch: fixed batch size, or None for a dynamic one.

    Returns:
      A model of the same function and outputs; its layers are copies.
    """
    return rebuild(model, batch, _Folding())


class _Folding:
    """Calls layers one after another, and calls a convolution anew with what follows it folded in."""

    def __init__(self) -> None:
        # id of an output tensor -> (the convolution that gave it, its input); the tensors keep their ids alive.
        self._made: dict[int, tuple[keras.layers.Layer, Any]] = {}
        self._tensors: list[Any] = []
        self._shared: dict[int, keras.layers.Layer] = {}

    def __call__(self, layer: Any, *args: Any, **kwargs: Any) -> Any:
        kind = type(layer).__name__
        if kind in ("Dropout", "SpatialDropout2D"):
            return args[0]
        if kind in KERNELS:
            if id(layer) not in self._shared:
                wide = kind == "Dense" and len(args[0].shape) == 4
                self._shared[id(layer)] = _as_convolution(layer) if wide else _copy(layer)
            return self._call(self._shared[id(layer)], args[0])
        source, inputs = self._made.get(id(args[0]), (None, None)) if args else (None, None)
        free = source is not None and source.activation is keras.activations.linear
        if kind == "BatchNormalization":
            factor, shift = _affine(layer)
            if free:
                return self._call(_scaled(source, factor, shift, layer.name), inputs)
            return self._call(_pointwise(args[0].shape[-1], factor, shift, layer.name), args[0])
        if kind == "Rescaling" and free:
            return self._call(_scaled(source, layer.scale, layer.offset, layer.name), inputs)
        if free and (kind == "ReLU" and _is_plain(layer) or kind == "Activation" and _is_relu(layer)):
            return self._call(_copy(source, activation="relu", name=layer.name), inputs)
        return layer(*args, **kwargs)

    def _call(self, layer: keras.layers.Layer, inputs: Any) -> Any:
        output = layer(inputs)
        self._made[id(output)] = (layer, inputs)
        self._tensors.append(output)
        return output


def _copy(layer: keras.layers.Layer, **changes: Any) -> keras.layers.Layer:
    """Returns a layer of the same weights, with a bias and with `changes` in its configuration."""
    copy = type(layer).from_config({**layer.get_config(), "use_bias": True, **changes})
    copy.build(layer.get_build_config()["input_shape"])
    kernel = np.asarray(layer.kernel)
    copy.set_weights([kernel, np.asarray(layer.bias) if layer.use_bias else np.zeros(copy.bias.shape, np.float32)])
    return copy


def _as_convolution(layer: keras.layers.Layer) -> keras.layers.Layer:
    """Returns a 1x1 convolution that computes a dense layer on a map: it converts without reshapes, which tie the
    scales of quantised tensors to each other.
    """
    config = layer.get_config()
    copy = keras.layers.Conv2D(layer.units, 1, activation=config["activation"], name=layer.name)
    kernel = np.asarray(layer.kernel)
    copy.build((None, None, None, kernel.shape[0]))
    bias = np.asarray(layer.bias) if layer.use_bias else np.zeros(layer.units, np.float32)
    copy.set_weights([kernel[None, None], bias])
    return copy


def _scaled(layer: keras.layers.Layer, factor: Any, shift: Any, name: str) -> keras.layers.Layer:
    """Returns a layer that computes factor * layer(x) + shift, per output channel."""
    copy = _copy(layer, name=name)
    kernel, bias = copy.get_weights()
    factor = np.broadcast_to(np.asarray(factor, np.float32), bias.shape)
    # A depthwise kernel is [h, w, channels, multiplier], any other [..., channels].
    spread = factor.reshape(kernel.shape[2:]) if type(layer).__name__ == "DepthwiseConv2D" else factor
    copy.set_weights([kernel * spread, bias * factor + np.asarray(shift, np.float32)])
    return copy


def _pointwise(channels: int, factor: np.ndarray, shift: np.ndarray, name: str) -> keras.layers.Layer:
    """Returns a depthwise 1x1 convolution that computes factor * x + shift."""
    layer = keras.layers.DepthwiseConv2D(1, name=name)
    layer.build((None, None, None, channels))
    layer.set_weights([factor.reshape(1, 1, channels, 1), shift])
    return layer


def _affine(layer: Any) -> tuple[np.ndarray, np.ndarray]:
    """Returns factor and shift of a batch normalisation at inference."""
    mean, variance = np.asarray(layer.moving_mean), np.asarray(layer.moving_variance)
    factor = (np.asarray(layer.gamma) if layer.scale else np.ones_like(mean)) / np.sqrt(variance + layer.epsilon)
    return factor, (np.asarray(layer.beta) if layer.center else 0.0) - mean * factor


def _is_plain(layer: Any) -> bool:
    return layer.max_value is None and not layer.threshold and not layer.negative_slope


def _is_relu(layer: Any) -> bool:
    return layer.activation is keras.activations.relu
