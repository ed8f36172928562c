"""System D: pretrained classifiers with one dense head, chosen by name.

resnet50, densenet121, efficientnet_b4    keras.applications
mobilenet_v2                              keras.applications; not in the report, for phones and for training on a CPU
vit_b16                                   keras-hub, an extra: pip install "dr_edge[vit]"
"""

from __future__ import annotations

import functools
import math
import os
from typing import Any

import gin

from dr_edge import extras
from dr_edge.framework import keras, layers
from dr_edge.models import backbones
from dr_edge.models.mobilenet_v3_cbam import cbam_classifier
from dr_edge.models.registry import FLOATS, KERAS, KERAS_HUB, PHONE, SERVER, register

CONVOLUTIONAL = {
    "resnet50": backbones.resnet50,
    "densenet121": backbones.densenet121,
    "efficientnet_b4": backbones.efficientnet_b4,
    "mobilenet_v2": backbones.mobilenet_v2,
}
FOR_PHONES = "mobilenet_v2"
VIT = "vit_b16"
VIT_PRESETS = {224: "vit_base_patch16_224_imagenet", 384: "vit_base_patch16_384_imagenet"}
VIT_PATCH = 16
VIT_SHAPE: dict[str, Any] = {
    "patch_size": VIT_PATCH,
    "num_layers": 12,
    "num_heads": 12,
    "hidden_dim": 768,
    "mlp_dim": 3072,
}


@register(
    VIT, image_size=224, outputs=5, weights=KERAS_HUB, formats=FLOATS, heat_map=False, extra="vit",
    arguments={"architecture": VIT},
)  # fmt: skip
@gin.configurable(module="models")
def classifier(
    image_size: int,
    outputs: int,
    architecture: str = gin.REQUIRED,
    weights: str | None = None,
    dropout: float = 0.2,
    hidden: int = 64,
    batch_norm_momentum: float | None = None,
) -> keras.Model:
    """Builds a backbone -> global average pool (ViT: class token) -> dropout -> Dense(hidden, relu) -> Dense(outputs).

    Args:
      image_size: side of the square input in pixels, at least 32; for vit_b16 a multiple of 16.
      outputs: number of logits.
      architecture: "resnet50", "densenet121", "efficientnet_b4", "mobilenet_v2" or "vit_b16".
      weights: of the backbone: None, "imagenet" (downloads) or the path of a no-top weights file (vit_b16: of a file
        that keras_hub's ViTBackbone.save_weights wrote).
      dropout: rate before the dense layers.
      hidden: width of the `penultimate` layer.
      batch_norm_momentum: of all batch normalisations; None keeps the backbone's.

    Returns:
      A functional model, flat but for vit_b16, from [B, S, S, 3] float32 0..255 to [B, outputs] logits, with the layers
      `penultimate`, `logits` and, but for vit_b16, `cam_features`.

    Raises:
      ValueError: an unknown architecture, a missing weights file, or a size that does not fit.
      RuntimeError: vit_b16 without keras-hub.
    """
    if architecture in CONVOLUTIONAL:
        return cbam_classifier(
            image_size,
            outputs,
            backbone=functools.partial(CONVOLUTIONAL[architecture], weights=weights),
            use_attention=False,
            dropout=dropout,
            hidden=hidden,
            batch_norm_momentum=batch_norm_momentum,
            name=architecture,
        )
    if architecture != VIT:
        raise ValueError(f"architecture must be one of {(*CONVOLUTIONAL, VIT)}. Received: {architecture!r}.")
    return _vit(image_size, outputs, weights, dropout, hidden)


for _name in CONVOLUTIONAL:
    _size, _formats = (320, PHONE) if _name == FOR_PHONES else (384, SERVER if _name == "resnet50" else FLOATS)
    register(
        _name, image_size=_size, outputs=5, backbone=_name, weights=KERAS, formats=_formats,
        arguments={"architecture": _name},
    )(classifier)  # fmt: skip


def _vit(image_size: int, outputs: int, weights: str | None, dropout: float, hidden: int) -> keras.Model:
    """Builds ViT-B/16 (Dosovitskiy et al., ICLR 2021) with the dense head on its class token."""
    if image_size % VIT_PATCH or image_size < 32 or outputs < 1:
        raise ValueError(
            f"vit_b16 needs image_size >= 32, a multiple of {VIT_PATCH}, and outputs >= 1. "
            f"Received: {image_size} and {outputs}."
        )
    trunk = _vit_backbone(image_size, weights)
    inputs = keras.Input((image_size, image_size, 3), name="image")
    x = layers.Rescaling(1 / 127.5, offset=-1.0, name="rescaling")(inputs)
    # The one nested model: keras-hub 0.32 can load its layers again only inside it, and a ViT has no map to name.
    x = trunk(x)
    token = layers.Cropping1D((0, _tokens(image_size) - 1), name="class_token")(x)  # [B, 1, 768]
    x = layers.Flatten(name="class_features")(token)
    x = layers.Dropout(dropout, name="dropout")(x)
    x = layers.Dense(hidden, activation="relu", name="penultimate")(x)
    model = keras.Model(inputs, layers.Dense(outputs, name="logits")(x), name=VIT)
    model.backbone_layers = [trunk.name]
    return model


def _vit_backbone(image_size: int, weights: str | None) -> Any:
    extras.require(VIT)
    import keras_hub

    if weights == "imagenet":
        if image_size not in VIT_PRESETS:
            raise ValueError(
                f"ImageNet weights of vit_b16 exist for {sorted(VIT_PRESETS)} px. Received: {image_size}. "
                "Build records of that size, or bind weights = None."
            )
        return keras_hub.models.ViTBackbone.from_preset(VIT_PRESETS[image_size])
    trunk = keras_hub.models.ViTBackbone(image_shape=(image_size, image_size, 3), **VIT_SHAPE)
    if weights is not None:
        if not os.path.isfile(weights):
            raise ValueError(f"weights must be None, 'imagenet' or a file. Received: {weights!r}, no such file.")
        trunk.load_weights(weights)
    return trunk


def _tokens(image_size: int) -> int:
    """Returns the length of the sequence: one token per patch and the class token."""
    return math.prod((image_size // VIT_PATCH,) * 2) + 1
