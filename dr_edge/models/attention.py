"""Convolutional block attention (CBAM; Woo et al., ECCV 2018) in the form that system A reports.

Channel attention pools over the whole feature map by mean and by maximum, sends both through one shared two-layer
perceptron, adds and squashes; spatial attention looks at the channel mean and maximum through one 7x7 convolution.
The input is added back at the end, so an untrained block does no harm.
"""

from __future__ import annotations

from dr_edge.framework import keras, layers


def channel_attention(
    features: keras.KerasTensor, reduction: int = 4, name: str = "channel_attention"
) -> keras.KerasTensor:
    """Weighs each channel by sigmoid(MLP(mean) + MLP(max)).

    Args:
      features: [B, H, W, C].
      reduction: the perceptron's hidden layer has C // reduction units.
      name: prefix of the layer names.

    Returns:
      [B, H, W, C], the weighted features.
    """
    channels = features.shape[-1]
    hidden = layers.Dense(channels // reduction, activation="relu", name=f"{name}_hidden")
    out = layers.Dense(channels, name=f"{name}_out")
    mean = layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_mean")(features)  # [B, 1, 1, C]
    peak = layers.GlobalMaxPooling2D(keepdims=True, name=f"{name}_max")(features)  # [B, 1, 1, C]
    weights = layers.Add(name=f"{name}_add")([out(hidden(mean)), out(hidden(peak))])
    weights = layers.Activation("sigmoid", name=f"{name}_sigmoid")(weights)
    return layers.Multiply(name=f"{name}_multiply")([features, weights])


def spatial_attention(
    features: keras.KerasTensor, kernel_size: int = 7, name: str = "spatial_attention"
) -> keras.KerasTensor:
    """Weighs each position by sigmoid(conv([mean over channels, max over channels])).

    Args:
      features: [B, H, W, C].
      kernel_size: of the one-filter convolution (99 parameters at 7).
      name: prefix of the layer names.

    Returns:
      [B, H, W, C], the weighted features.
    """
    mean = keras.ops.mean(features, axis=-1, keepdims=True)
    peak = keras.ops.max(features, axis=-1, keepdims=True)
    pooled = layers.Concatenate(name=f"{name}_pool")([mean, peak])  # [B, H, W, 2]
    weights = layers.Conv2D(1, kernel_size, padding="same", activation="sigmoid", name=f"{name}_conv")(pooled)
    return layers.Multiply(name=f"{name}_multiply")([features, weights])


def cbam(features: keras.KerasTensor, reduction: int = 4, name: str = "cam_features") -> keras.KerasTensor:
    """Applies channel, then spatial attention, and adds the input (residual).

    Args:
      features: [B, H, W, C].
      reduction: see `channel_attention`.
      name: of the layer that gives the result.

    Returns:
      [B, H, W, C].
    """
    attended = spatial_attention(channel_attention(features, reduction))
    return layers.Add(name=name)([features, attended])
