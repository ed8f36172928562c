"""System E: one trunk for several diseases, with a sigmoid head for each.

Each head has hidden units of its own: `penultimate` holds those of all heads side by side, and `logits` reads for each
disease its own block only. So the heads are apart, and the head as a whole is still the two plain dense layers of which
the heat map and the distance in an exported graph are computed.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import gin
import numpy as np

from dr_edge.framework import keras
from dr_edge.models import backbones
from dr_edge.models.mobilenet_v3_cbam import cbam_classifier
from dr_edge.models.registry import FLOATS, KERAS, PHONE, SERVER, register


class Trunk(NamedTuple):
    """What stands below the heads: the backbone, whether attention stands behind it, the backbone's registered name."""

    backbone: Callable[..., keras.KerasTensor]
    attended: bool
    registered: str


TRUNKS = {
    "densenet121": Trunk(backbones.densenet121, False, "densenet121"),
    "resnet50": Trunk(backbones.resnet50, False, "resnet50"),
    "alexnet": Trunk(backbones.alexnet, False, "alexnet"),
    "mobilenet_v3_cbam": Trunk(functools.partial(backbones.mobilenet_v3, variant="large"), True, "mobilenet_v3_large"),
    "mobilenet_v2_cbam": Trunk(backbones.mobilenet_v2, True, "mobilenet_v2"),
}


class OwnBlock(keras.constraints.Constraint):
    """Keeps a kernel [blocks * hidden, blocks] block-diagonal: output i depends on the i-th block of inputs alone."""

    def __init__(self, blocks: int) -> None:
        self.blocks = blocks

    def __call__(self, w: Any) -> Any:
        """Returns the kernel with zeros outside the blocks."""
        mask = np.repeat(np.eye(self.blocks, dtype=np.float32), w.shape[0] // self.blocks, axis=0)
        return w * keras.ops.cast(mask, w.dtype)


@gin.configurable(module="models")
def multitask(
    image_size: int,
    outputs: int,
    trunk: str = gin.REQUIRED,
    weights: str | None = None,
    hidden: int = 64,
    dropout: float = 0.2,
    batch_norm_momentum: float | None = None,
) -> keras.Model:
    """Builds trunk -> global average pool -> dropout -> for each disease Dense(hidden, relu) -> Dense(1).

    Args:
      image_size: side of the square input in pixels, at least 64.
      outputs: number of diseases.
      trunk: "densenet121", "resnet50", "alexnet", "mobilenet_v3_cbam" or "mobilenet_v2_cbam".
      weights: of the trunk: None, "imagenet" (downloads) or the path of a no-top weights file; alexnet has none.
      hidden: hidden units of each head.
      dropout: rate before the heads.
      batch_norm_momentum: of all batch normalisations; None keeps the trunk's.

    Returns:
      A flat functional model from [B, S, S, 3] float32 0..255 to [B, outputs] logits, one sigmoid each, with the layers
      `cam_features`, `penultimate` [B, outputs * hidden] and `logits`.

    Raises:
      ValueError: an unknown trunk, weights for alexnet, or a size that does not fit.
    """
    if trunk not in TRUNKS or image_size < 64:
        raise ValueError(
            f"multitask needs image_size >= 64 and a trunk of {tuple(TRUNKS)}. Received: {image_size}, {trunk!r}."
        )
    if trunk == "alexnet" and weights is not None:
        raise ValueError(f"No ImageNet weights of alexnet exist in Keras. Bind weights = None. Received: {weights!r}.")
    backbone, attended, _ = TRUNKS[trunk]
    if trunk != "alexnet":
        backbone = functools.partial(backbone, weights=weights)
    model = cbam_classifier(
        image_size,
        outputs,
        backbone=backbone,
        use_attention=attended,
        dropout=dropout,
        hidden=hidden * outputs,
        batch_norm_momentum=batch_norm_momentum,
        name=f"multitask_{trunk}",
    )
    head = model.get_layer("logits")
    # On the variable, where optimizers look for it, and not in the layer's configuration: a saved model is plain Keras.
    head.kernel.constraint = OwnBlock(outputs)
    # Glorot's limits for a head of `hidden` inputs, not for the whole row of them.
    limit = float(np.sqrt(6 / (hidden + 1)))
    start = keras.random.uniform(head.kernel.shape, -limit, limit)
    head.kernel.assign(OwnBlock(outputs)(start))
    return model


for _name, _trunk in TRUNKS.items():
    _float = FLOATS if _name == "alexnet" else SERVER
    register(
        f"multitask_{_name}", image_size=224, task="multilabel", backbone=_trunk.registered,
        weights="" if _name == "alexnet" else KERAS, formats=PHONE if _trunk.attended else _float,
        arguments={"trunk": _name},
    )(multitask)  # fmt: skip
