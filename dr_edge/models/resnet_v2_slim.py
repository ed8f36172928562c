"""System B: a slim ResNetV2 (He et al., "Identity mappings in deep residual networks", 2016) for 256 px crops.

7x7 convolution, stride 2 -> batch norm -> ReLU -> 3x3 max pool, stride 2 -> three pre-activation residual blocks of
stride 2 with 16, 32 and 64 channels -> ReLU -> global average pool -> Dense.
"""

from __future__ import annotations

from collections.abc import Sequence

import gin

from dr_edge.framework import keras, layers
from dr_edge.models.registry import PHONE, register


def residual_block(x: keras.KerasTensor, channels: int, stride: int, name: str) -> keras.KerasTensor:
    """Adds a pre-activation residual block: two (BN, ReLU, 3x3 convolution), with a projected shortcut.

    Args:
      x: [B, H, W, C].
      channels: of the result.
      stride: of the first convolution and of the 1x1 projection.
      name: prefix of the layer names.

    Returns:
      [B, ceil(H / stride), ceil(W / stride), channels].
    """
    preactivated = layers.BatchNormalization(name=f"{name}_bn1")(x)
    preactivated = layers.ReLU(name=f"{name}_relu1")(preactivated)
    # With a change of shape the shortcut starts behind the first activation (He et al. 2016, section 4.1).
    shortcut = layers.Conv2D(channels, 1, strides=stride, name=f"{name}_shortcut")(preactivated)
    y = layers.Conv2D(channels, 3, strides=stride, padding="same", use_bias=False, name=f"{name}_conv1")(preactivated)
    y = layers.BatchNormalization(name=f"{name}_bn2")(y)
    y = layers.ReLU(name=f"{name}_relu2")(y)
    y = layers.Conv2D(channels, 3, padding="same", name=f"{name}_conv2")(y)
    return layers.Add(name=f"{name}_add")([shortcut, y])


@register("resnet_v2_slim", image_size=256, formats=PHONE)
@gin.configurable(module="models")
def resnet_v2_slim(
    image_size: int, outputs: int, channels: Sequence[int] = (16, 32, 64), stem_channels: int = 16
) -> keras.Model:
    """Builds system B's network.

    Args:
      image_size: side of the square input in pixels.
      outputs: number of logits.
      channels: of the residual blocks, each of stride 2.
      stem_channels: filters of the 7x7 convolution (the report does not state it; 16 matches the first block).

    Returns:
      A flat functional model from [B, S, S, 3] float32 0..255 to [B, outputs] logits, with the layers `cam_features`
      (the last map after ReLU), `penultimate` (its global average) and `logits`.

    Raises:
      ValueError: image_size < 32 or no channels.
    """
    if image_size < 32 or not channels:
        raise ValueError(f"image_size must be >= 32 and channels not empty. Received: {image_size} and {channels!r}.")
    inputs = keras.Input((image_size, image_size, 3), name="image")
    x = layers.Rescaling(1 / 127.5, offset=-1.0, name="rescaling")(inputs)
    x = layers.Conv2D(stem_channels, 7, strides=2, padding="same", use_bias=False, name="stem_conv")(x)
    x = layers.BatchNormalization(name="stem_bn")(x)
    x = layers.ReLU(name="stem_relu")(x)
    x = layers.MaxPooling2D(3, strides=2, padding="same", name="stem_pool")(x)
    for index, width in enumerate(channels):
        x = residual_block(x, width, stride=2, name=f"block{index + 1}")
    features = layers.ReLU(name="cam_features")(x)
    pooled = layers.GlobalAveragePooling2D(name="penultimate")(features)
    logits = layers.Dense(outputs, name="logits")(pooled)
    return keras.Model(inputs, logits, name="resnet_v2_slim")
