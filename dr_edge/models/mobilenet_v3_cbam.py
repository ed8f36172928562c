"""System A: a phone-sized backbone, convolutional block attention and a small head.

At 512 px, MobileNetV3-Large with two outputs has exactly 3,520,085 parameters (3,495,685 trainable, 24,400 not).
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import gin

from dr_edge.framework import keras, layers
from dr_edge.models import attention, backbones
from dr_edge.models.registry import KERAS, PHONE, register


@register(
    "mobilenet_v2_cbam", image_size=320, backbone="mobilenet_v2", weights=KERAS, formats=PHONE,
    arguments={"backbone": backbones.mobilenet_v2, "name": "mobilenet_v2_cbam"},
)  # fmt: skip
@gin.configurable(module="models")
def cbam_classifier(
    image_size: int,
    outputs: int,
    backbone: Callable[[keras.KerasTensor], keras.KerasTensor] = backbones.mobilenet_v3,
    use_attention: bool = True,
    dropout: float = 0.2,
    hidden: int = 64,
    batch_norm_momentum: float | None = None,
    name: str = "cbam_classifier",
) -> keras.Model:
    """Builds backbone -> CBAM -> global average pool -> dropout -> Dense(hidden, relu) -> Dense(outputs).

    Args:
      image_size: side of the square input in pixels, at least 32.
      outputs: number of logits.
      backbone: from [B, S, S, 3] float32 0..255 to the last feature map (a gin reference, see backbones.py).
      use_attention: False leaves the attention block out, for comparison.
      dropout: rate before the dense layers.
      hidden: width of the `penultimate` layer.
      batch_norm_momentum: of all batch normalisations; None keeps the backbone's. MobileNetV3's 0.999 needs thousands
        of steps before its moving averages mean anything: from random weights on a small data set take 0.9.
      name: of the model.

    Returns:
      A flat functional model from [B, S, S, 3] float32 0..255 to [B, outputs] logits, with the layers `cam_features`,
      `penultimate` and `logits`.

    Raises:
      ValueError: image_size < 32 or outputs < 1.
    """
    if image_size < 32 or outputs < 1:
        raise ValueError(f"image_size must be >= 32 and outputs >= 1. Received: {image_size} and {outputs}.")
    inputs = keras.Input((image_size, image_size, 3), name="image")
    features = backbone(inputs)
    trunk = [layer.name for layer in keras.Model(inputs, features).layers]
    if use_attention:
        features = attention.cbam(features, name="cam_features")
    else:
        features = layers.Identity(name="cam_features")(features)
    x = layers.GlobalAveragePooling2D(name="pool")(features)
    x = layers.Dropout(dropout, name="dropout")(x)
    x = layers.Dense(hidden, activation="relu", name="penultimate")(x)
    logits = layers.Dense(outputs, name="logits")(x)
    model = keras.Model(inputs, logits, name=name)
    if batch_norm_momentum is not None:
        for layer in model.layers:
            if isinstance(layer, layers.BatchNormalization):
                layer.momentum = batch_norm_momentum
    model.backbone_layers = trunk  # training/freezing.py freezes these
    return model


@register(
    "mobilenet_v3_large_cbam", image_size=512, backbone="mobilenet_v3_large", weights=KERAS, formats=PHONE,
    arguments={"variant": "large"},
)  # fmt: skip
@register(
    "mobilenet_v3_small_cbam", image_size=512, backbone="mobilenet_v3_small", weights=KERAS, formats=PHONE,
    arguments={"variant": "small"},
)  # fmt: skip
@gin.configurable(module="models")
def mobilenet_v3_cbam(
    image_size: int,
    outputs: int,
    variant: str = "large",
    weights: str | None = None,
    dropout: float = 0.2,
    batch_norm_momentum: float | None = None,
    stride: int = 32,
) -> keras.Model:
    """Builds system A's network: MobileNetV3 + CBAM (see `cbam_classifier`).

    Args:
      image_size: side of the square input in pixels.
      outputs: number of logits.
      variant: "small" or "large".
      weights: of the backbone: None, "imagenet" (downloads) or a path.
      dropout: rate before the dense layers.
      batch_norm_momentum: see `cbam_classifier`.
      stride: of the backbone; 32 is system A's (see `backbones.mobilenet_v3`).

    Returns:
      A flat functional model from [B, S, S, 3] float32 0..255 to [B, outputs] logits.
    """
    backbone = functools.partial(backbones.mobilenet_v3, variant=variant, weights=weights, stride=stride)
    return cbam_classifier(
        image_size,
        outputs,
        backbone=backbone,
        use_attention=True,
        dropout=dropout,
        hidden=64,
        batch_norm_momentum=batch_norm_momentum,
        name=f"mobilenet_v3_{variant}_cbam",
    )
