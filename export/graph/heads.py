"""What an app shows beside the probabilities (heat map, distance), in forward operations that every runtime has."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from dr_edge.framework import keras, ops
from dr_edge.models.multitask import OwnBlock


@dataclasses.dataclass(frozen=True)
class LinearHead:
    """Dense layers from the global average of `cam_features` to `logits`; all but the last have a ReLU.

    Attributes:
      kernels: [in, out] float32 each.
      gates: names of the ReLU layers, one per kernel but the last.
      layers: names of all layers from the pool to the logits.
    """

    kernels: tuple[np.ndarray, ...]
    gates: tuple[str, ...]
    layers: tuple[str, ...]


def linear_head(network: keras.Model) -> tuple[LinearHead | None, str]:
    """Finds the head for which Grad-CAM has a closed form: GAP -> (Dropout, Dense relu)* -> Dense `logits`.

    Returns:
      The head and "", or None and the reason.
    """
    names = {layer.name for layer in network.layers}
    if "cam_features" not in names:
        return None, "the network has no layer cam_features (no map of features, as in a ViT)"
    chain: list[Any] = []
    layer = network.get_layer("logits")
    while layer.name != "cam_features":
        chain.append(layer)
        parents = _parents(layer)
        if len(parents) != 1:
            return None, f"layer {layer.name!r} between cam_features and logits has {len(parents)} inputs"
        layer = parents[0]
    chain.reverse()
    if not chain or type(chain[0]).__name__ != "GlobalAveragePooling2D":
        return None, "the head does not begin with a global average pool"
    dense = []
    for layer in chain[1:]:
        kind = type(layer).__name__
        if kind == "Dense":
            dense.append(layer)
        elif kind not in ("Dropout", "Identity", "Flatten"):
            return None, f"layer {layer.name!r} ({kind}) between cam_features and logits has no closed form here"
    for layer in dense[:-1]:
        if layer.activation is not keras.activations.relu:
            return None, f"dense layer {layer.name!r} of the head is not a ReLU layer"
    if dense[-1].activation is not keras.activations.linear:
        return None, "the layer logits has an activation"
    kernels = tuple(np.asarray(layer.kernel, np.float32) for layer in dense)
    gates = tuple(layer.name for layer in dense[:-1])
    return LinearHead(kernels, gates, tuple(layer.name for layer in chain)), ""


def block_mask(kernel: np.ndarray) -> np.ndarray | None:
    """Returns 1 where the kernel of apart heads (dr_edge.models.multitask) may differ from 0; None for other kernels.

    A saved model is plain Keras and has lost its constraint, so the zeros themselves tell.

    Args:
      kernel: of the layer logits; [blocks * hidden, blocks] float32 where heads are apart.
    """
    if kernel.ndim != 2 or kernel.shape[1] < 2 or kernel.shape[0] % kernel.shape[1]:
        return None
    mask = np.asarray(OwnBlock(kernel.shape[1])(np.ones_like(kernel)))
    return mask if not kernel[mask == 0].any() else None


def elementwise_tail(network: keras.Model) -> tuple[str, ...]:
    """Returns the names of sums and products that end `cam_features`, and its own: back to the layers before them.

    Attention multiplies features by gates near 0: in 8 bits a few large channels leave the rest no resolution, and on
    the last, small map floating point costs next to nothing.
    """
    if "cam_features" not in {layer.name for layer in network.layers}:
        return ()
    found, waiting = [], [network.get_layer("cam_features")]
    while waiting:
        layer = waiting.pop()
        # A ReLU further back is a convolution's own, and both belong in 8 bits.
        joins = type(layer).__name__ in ("Add", "Multiply", "Identity") or layer.name == "cam_features"
        if joins and layer.name not in found:
            found.append(layer.name)
            waiting += _parents(layer)
    return tuple(found)


def _parents(layer: Any) -> list[Any]:
    return [tensor._keras_history.operation for tensor in layer._inbound_nodes[0].input_tensors]


def closed_form_grad_cam(
    features: keras.KerasTensor,
    logits: keras.KerasTensor,
    hidden: Sequence[keras.KerasTensor],
    kernels: Sequence[np.ndarray],
    gate: Callable[[keras.KerasTensor], keras.KerasTensor],
) -> keras.KerasTensor:
    """Computes the exact Grad-CAM map (Selvaraju et al., 2017) of the predicted class in forward operations only.

    Behind a global average pool the gradient of a logit is the same at each position, so its mean over the positions,
    Grad-CAM's channel weight, is W1 . diag(h1 > 0) . W2[:, c] / (h w). The constant 1 / (h w) cancels in the
    normalisation to a maximum of 1.

    Args:
      features: [B, h, w, F], the layer cam_features.
      logits: [B, C].
      hidden: outputs of the ReLU layers between the pooled features and the logits.
      kernels: [in, out] float32 of these layers and of the logits.
      gate: gives 1 where its argument, which is never negative, is positive, else 0.

    Returns:
      [B, h, w] float32 in 0..1; all 0 where no position speaks for the class.
    """
    best = ops.max(logits, axis=-1, keepdims=True)
    weights = ops.matmul(1.0 - gate(best - logits), kernels[-1].T)  # of the predicted class
    for kernel, activation in zip(reversed(kernels[:-1]), reversed(hidden), strict=True):
        weights = ops.matmul(weights * gate(activation), kernel.T)
    batch, height, width, channels = features.shape
    weights = ops.reshape(weights, (batch or -1, 1, 1, channels))
    # The sum over channels as a convolution: a 16-bit SUM keeps the scale of its input and saturates.
    ones = np.ones((1, 1, channels, 1), np.float32)
    heat = ops.relu(ops.conv(features * weights, ones))  # [B, h, w, 1]
    peak = ops.max(heat, axis=(1, 2), keepdims=True)
    return ops.reshape(heat / ops.maximum(peak, 1e-6), (batch or -1, height, width))


def positive(x: keras.KerasTensor) -> keras.KerasTensor:
    """Returns 1 where x > 0 and 0 where x = 0, for x >= 0, without a comparison.

    Phone delegates take products and minima, but neither comparisons nor SIGN, which would cut the graph in two.
    60000 twice, since one larger number would overflow in float16: exact for x >= 3e-10.
    """
    return ops.minimum(ops.minimum(x * 60000.0, 1.0) * 60000.0, 1.0)


def mahalanobis(features: keras.KerasTensor, means: np.ndarray, whitening: np.ndarray) -> keras.KerasTensor:
    """Computes the Mahalanobis distance to the nearest class mean (Lee et al., 2018; shared covariance).

    Args:
      features: [B, F].
      means: [C, F].
      whitening: [F, F], (z - mean) @ whitening has unit covariance on the training images.

    Returns:
      [B, 1] float32 >= 0.
    """
    whitening = np.asarray(whitening, np.float32)
    centres = np.asarray(means, np.float32) @ whitening  # [C, F]
    ones = np.ones((whitening.shape[1], 1), np.float32)
    distances = []
    for centre in centres:
        away = ops.matmul(features, whitening) - centre[None]  # one fully connected layer with a bias
        # As a product: the converter makes SQUARED_DIFFERENCE of a square, which has no 16-bit kernel.
        distances.append(ops.matmul(away * away, ones))  # [B, 1]; see closed_form_grad_cam for the sum
    nearest = distances[0]
    for distance in distances[1:]:
        nearest = ops.minimum(nearest, distance)
    return ops.sqrt(nearest)
