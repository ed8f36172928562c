"""Backbones: pretrained convolutional trunks as flat graphs, from raw pixels to the last feature map.

Each function takes an input of [B, S, S, 3] float32 in 0..255, rescales it as its ImageNet weights expect, and returns
the last feature map. The graph is flat (no model nested in a model), so that every layer can be named by Grad-CAM,
quantisation and freezing.
"""

from __future__ import annotations

import os

import gin
import keras
from keras import layers


def _check_weights(weights: str | None) -> str | None:
    if weights is not None and weights != "imagenet" and not os.path.isfile(weights):
        raise ValueError(f"weights must be None, 'imagenet' or the path of a weights file. Received: {weights!r}, no such file.")
    return weights


@gin.configurable(module="backbones")
def mobilenet_v3(inputs: keras.KerasTensor, variant: str = "large", weights: str | None = None) -> keras.KerasTensor:
    """MobileNetV3 (Howard et al., ICCV 2019), without top; rescaled to -1..1.

    Args:
      inputs: [B, S, S, 3] float32, 0..255.
      variant: "large" (2,996,352 parameters, 960 channels) or "small" (939,120 parameters, 576 channels).
      weights: None, "imagenet" (downloads) or the path of a no-top weights file.

    Returns:
      [B, S/32, S/32, C] features.

    Raises:
      ValueError: an unknown variant or a missing weights file.
    """
    builders = {"large": keras.applications.MobileNetV3Large, "small": keras.applications.MobileNetV3Small}
    if variant not in builders:
        raise ValueError(f"MobileNetV3's variant is 'small' or 'large'. Received: {variant!r}.")
    scaled = layers.Rescaling(1 / 127.5, offset=-1.0, name="rescaling")(inputs)
    trunk = builders[variant](
        include_top=False, include_preprocessing=False, input_tensor=scaled, weights=_check_weights(weights)
    )
    return trunk.output


@gin.configurable(module="backbones")
def mobilenet_v2(inputs: keras.KerasTensor, alpha: float = 1.0, weights: str | None = None) -> keras.KerasTensor:
    """MobileNetV2 (Sandler et al., CVPR 2018), without top; rescaled to -1..1; 1280 channels at alpha 1.

    Args:
      inputs: [B, S, S, 3] float32, 0..255.
      alpha: width multiplier.
      weights: None, "imagenet" (downloads) or the path of a no-top weights file of the same alpha.

    Returns:
      [B, S/32, S/32, C] features.
    """
    scaled = layers.Rescaling(1 / 127.5, offset=-1.0, name="rescaling")(inputs)
    trunk = keras.applications.MobileNetV2(
        include_top=False, input_tensor=scaled, alpha=alpha, weights=_check_weights(weights)
    )
    return trunk.output
