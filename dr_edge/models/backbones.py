"""Backbones: pretrained convolutional trunks as flat graphs, from raw pixels to the last feature map.

Each function takes an input of [B, S, S, 3] float32 in 0..255, rescales it as its ImageNet weights expect, and returns
the last feature map. The graph is flat (no model nested in a model), so that every layer can be named by Grad-CAM,
quantisation and freezing.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Callable
from typing import Any

import gin
import numpy as np

from dr_edge.framework import keras, layers
from dr_edge.models.registry import BACKBONE, ENCODER, KERAS, register

STRIDES = (8, 16, 32)
IMAGENET_MEANS, IMAGENET_DEVIATIONS = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # RGB, of 0..1
RESNET_MEANS_RGB = (123.68, 116.779, 103.939)  # of 0..255
# Filters, kernel, stride, and whether a 3x3 max pool of stride 2 follows.
ALEXNET = ((96, 11, 4, True), (256, 5, 1, True), (384, 3, 1, False), (384, 3, 1, False), (256, 3, 1, True))


def _check_weights(weights: str | None) -> str | None:
    if weights is not None and weights != "imagenet" and not os.path.isfile(weights):
        raise ValueError(
            f"weights must be None, 'imagenet' or the path of a weights file. Received: {weights!r}, no such file."
        )
    return weights


def _trunk(builder: Callable[..., keras.Model], name: str, weights: str | None, **arguments: Any) -> keras.Model:
    """Builds a network of keras.applications without its top.

    Args:
      builder: of keras.applications.
      name: the gin name of the backbone, for the error.
      weights: None, "imagenet" or a path.
      arguments: for `builder`.

    Raises:
      ConnectionError: the ImageNet weights could not be downloaded.
      ValueError: a missing weights file.
    """
    with warnings.catch_warnings():
        # Keras loads the weights of 224 px, as it should: without the top they fit every size.
        warnings.filterwarnings("ignore", message="`input_shape` is undefined or non-square", category=UserWarning)
        try:
            return builder(include_top=False, weights=_check_weights(weights), **arguments)
        except Exception as err:  # Keras raises a bare Exception where a download fails
            if weights != "imagenet" or "URL fetch failure" not in str(err):
                raise
            raise ConnectionError(
                f"Could not download the ImageNet weights of {name} ({_reason(err)}). Give a file by "
                f"--gin_param=\"{_weights_binding(name)} = 'PATH'\", or take random weights by "
                f'--gin_param="{_weights_binding(name)} = None".'
            ) from err


def _cut(trunk: keras.Model, stride: int) -> keras.KerasTensor:
    """Returns a trunk's last activation whose cells are at most `stride` pixels a side; what follows is left out.

    A cut trunk has finer cells and has seen less around each of them: its heat maps show smaller things.

    Raises:
      ValueError: a stride that is none of STRIDES.
    """
    if stride not in STRIDES:
        raise ValueError(f"A backbone's stride is one of {STRIDES}. Received: {stride!r}.")
    side = -(-trunk.input_shape[1] // stride)
    activations = [layer for layer in trunk.layers if type(layer).__name__ in ("Activation", "ReLU")]
    return [layer.output for layer in activations if layer.output.shape[1] >= side][-1]


def _weights_binding(name: str) -> str:
    """Returns the gin binding that asked for "imagenet": of the backbone, or of a model that passes weights to it."""
    used = re.findall(r"^([\w./]+\.weights) = 'imagenet'$", gin.operative_config_str(max_line_length=200), re.MULTILINE)
    return used[-1] if used else f"backbones.{name}.weights"


def _reason(err: Exception) -> str:
    """Returns the last part of Keras' "URL fetch failure on URL: CODE -- REASON"."""
    return str(err).rpartition(" -- ")[2].strip() or str(err)


@register("mobilenet_v3_large", kind=BACKBONE, image_size=224, weights=KERAS, arguments={"variant": "large"})
@register("mobilenet_v3_small", kind=BACKBONE, image_size=224, weights=KERAS, arguments={"variant": "small"})
@gin.configurable(module="backbones")
def mobilenet_v3(
    inputs: keras.KerasTensor, variant: str = "large", weights: str | None = None, stride: int = 32
) -> keras.KerasTensor:
    """MobileNetV3 (Howard et al., ICCV 2019), without top; rescaled to -1..1.

    Args:
      inputs: [B, S, S, 3] float32, 0..255.
      variant: "large" (2,996,352 parameters, 960 channels) or "small" (939,120 parameters, 576 channels).
      weights: None, "imagenet" (downloads) or the path of a no-top weights file.
      stride: pixels per cell of the last map. 32 is the whole network; at 16 and 8 it ends where it would become
        coarser, with 288 and 96 channels (small), 672 and 240 (large).

    Returns:
      [B, S/stride, S/stride, C] features.

    Raises:
      ValueError: an unknown variant or stride, or a missing weights file.
    """
    builders = {"large": keras.applications.MobileNetV3Large, "small": keras.applications.MobileNetV3Small}
    if variant not in builders:
        raise ValueError(f"MobileNetV3's variant is 'small' or 'large'. Received: {variant!r}.")
    scaled = layers.Rescaling(1 / 127.5, offset=-1.0, name="rescaling")(inputs)
    trunk = _trunk(builders[variant], "mobilenet_v3", weights, include_preprocessing=False, input_tensor=scaled)
    return _cut(trunk, stride)


@register("mobilenet_v2", kind=BACKBONE, image_size=224, weights=KERAS)
@gin.configurable(module="backbones")
def mobilenet_v2(
    inputs: keras.KerasTensor, alpha: float = 1.0, weights: str | None = None, stride: int = 32
) -> keras.KerasTensor:
    """MobileNetV2 (Sandler et al., CVPR 2018), without top; rescaled to -1..1; 1280 channels at alpha 1.

    Args:
      inputs: [B, S, S, 3] float32, 0..255.
      alpha: width multiplier.
      weights: None, "imagenet" (downloads) or the path of a no-top weights file of the same alpha.
      stride: pixels per cell of the last map, as of `mobilenet_v3`; 576 channels at 16 and 192 at 8 with alpha 1.

    Returns:
      [B, S/stride, S/stride, C] features.

    Raises:
      ValueError: an unknown stride or a missing weights file.
    """
    scaled = layers.Rescaling(1 / 127.5, offset=-1.0, name="rescaling")(inputs)
    trunk = _trunk(keras.applications.MobileNetV2, "mobilenet_v2", weights, input_tensor=scaled, alpha=alpha)
    return _cut(trunk, stride)


@register("resnet50", kind=BACKBONE, image_size=224, weights=KERAS)
@gin.configurable(module="backbones")
def resnet50(inputs: keras.KerasTensor, weights: str | None = None) -> keras.KerasTensor:
    """ResNet-50 (He et al., CVPR 2016), without top; ImageNet means subtracted; 23,587,712 parameters, 2048 channels.

    Args:
      inputs: [B, S, S, 3] float32, 0..255.
      weights: None, "imagenet" (downloads) or the path of a no-top weights file of keras.applications.

    Returns:
      [B, S/32, S/32, 2048] features.
    """
    centred = layers.Rescaling(1.0, offset=[-value for value in RESNET_MEANS_RGB], name="rescaling")(inputs)
    trunk = _trunk(keras.applications.ResNet50, "resnet50", weights, input_tensor=centred)
    if weights is not None:
        # These weights want BGR. Turning the first kernel round does that without an operation in the graph.
        stem = trunk.get_layer("conv1_conv")
        stem.set_weights([stem.get_weights()[0][:, :, ::-1], *stem.get_weights()[1:]])
    return trunk.output


@register("densenet121", kind=BACKBONE, image_size=224, weights=KERAS)
@gin.configurable(module="backbones")
def densenet121(inputs: keras.KerasTensor, weights: str | None = None) -> keras.KerasTensor:
    """DenseNet-121 (Huang et al., CVPR 2017), without top; ImageNet-normalised; 7,037,504 parameters, 1024 channels.

    Arguments and result as of `resnet50`.
    """
    scale = [1 / (255 * deviation) for deviation in IMAGENET_DEVIATIONS]
    offset = [-mean / deviation for mean, deviation in zip(IMAGENET_MEANS, IMAGENET_DEVIATIONS, strict=True)]
    scaled = layers.Rescaling(scale, offset=offset, name="rescaling")(inputs)
    return _trunk(keras.applications.DenseNet121, "densenet121", weights, input_tensor=scaled).output


@register("efficientnet_b4", kind=BACKBONE, image_size=380, weights=KERAS)
@gin.configurable(module="backbones")
def efficientnet_b4(inputs: keras.KerasTensor, weights: str | None = None) -> keras.KerasTensor:
    """EfficientNet-B4 (Tan & Le, ICML 2019), without top; normalises by itself; 17,673,823 parameters, 1792 channels.

    Arguments and result as of `resnet50`.
    """
    trunk = _trunk(keras.applications.EfficientNetB4, "efficientnet_b4", weights, input_tensor=inputs)
    if weights not in (None, "imagenet"):
        # keras.applications divides by the root of the deviation once more, but for "imagenet" only; the file's weights
        # want it, too.
        norm = next(layer for layer in trunk.layers if isinstance(layer, layers.Normalization))
        mean, variance, *rest = norm.get_weights()
        norm.set_weights([mean, variance * np.asarray(IMAGENET_DEVIATIONS, variance.dtype), *rest])
        norm.finalize_state()
    return trunk.output


@register("alexnet", kind=BACKBONE, image_size=224)
@gin.configurable(module="backbones")
def alexnet(inputs: keras.KerasTensor) -> keras.KerasTensor:
    """AlexNet's five convolutions (Krizhevsky et al., 2012), in one column, from random weights; 3,747,200 parameters.

    The dense layers of 4096 are left out: the head pools the last map, so that a heat map can be made of it.

    Args:
      inputs: [B, S, S, 3] float32, 0..255, S >= 64.

    Returns:
      [B, about S/32, about S/32, 256] features.
    """
    x = layers.Rescaling(1 / 127.5, offset=-1.0, name="rescaling")(inputs)
    for number, (width, kernel, stride, pooled) in enumerate(ALEXNET, 1):
        x = layers.Conv2D(
            width, kernel, strides=stride, padding="same", activation="relu", name=f"alexnet_conv{number}"
        )(x)
        if pooled:
            x = layers.MaxPooling2D(3, strides=2, name=f"alexnet_pool{number}")(x)
    return x


# Encoders of a UNet: the ends of the inverted bottlenecks. They are thin, linear, and hold all that the wider maps
# behind them are computed from.
BOTTLENECK_END = re.compile(r"^(expanded_conv(_\d+)?|block_\d+)_(project_bn|project_BN|add)$")

Encoder = Callable[[keras.KerasTensor], list[keras.KerasTensor]]


def _stages(trunk: keras.Model) -> list[keras.KerasTensor]:
    """Returns the last bottleneck's output of each resolution, fine to coarse; the stem's activation where a resolution
    has no bottleneck.
    """
    found: dict[int, keras.KerasTensor] = {}
    for layer in trunk.layers:
        is_stem = type(layer).__name__ in ("Activation", "ReLU") and not found
        if is_stem or BOTTLENECK_END.match(layer.name):
            found[layer.output.shape[1]] = layer.output
    return [found[side] for side in sorted(found, reverse=True)]


@register("mobilenet_v3_large_encoder", kind=ENCODER, image_size=384, weights=KERAS, arguments={"variant": "large"})
@register("mobilenet_v3_small_encoder", kind=ENCODER, image_size=384, weights=KERAS, arguments={"variant": "small"})
@gin.configurable(module="encoders")
def mobilenet_v3_encoder(
    inputs: keras.KerasTensor, variant: str = "large", weights: str | None = None
) -> list[keras.KerasTensor]:
    """MobileNetV3's bottlenecks as a UNet's encoder; the arguments are those of `mobilenet_v3`.

    Returns:
      Five maps of S/2 to S/32; 16, 24, 40, 112, 160 channels (large) or 16, 16, 24, 48, 96 (small).
    """
    return _stages(keras.Model(inputs, mobilenet_v3(inputs, variant, weights)))


@register("mobilenet_v2_encoder", kind=ENCODER, image_size=384, weights=KERAS)
@gin.configurable(module="encoders")
def mobilenet_v2_encoder(
    inputs: keras.KerasTensor, alpha: float = 1.0, weights: str | None = None
) -> list[keras.KerasTensor]:
    """MobileNetV2's bottlenecks as a UNet's encoder; the arguments are those of `mobilenet_v2`.

    Returns:
      Five maps of S/2 to S/32; 16, 24, 32, 96, 320 channels at alpha 1.
    """
    return _stages(keras.Model(inputs, mobilenet_v2(inputs, alpha, weights)))
