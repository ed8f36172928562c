"""Two-stage transfer learning: first the new head on a frozen backbone, then everything.

A frozen batch normalisation runs in inference mode (Keras), so its ImageNet statistics stay, which small data sets and
small batches need.
"""

from __future__ import annotations

from dr_edge.framework import keras


def freeze(model: keras.Model, backbone: bool, batch_norm: bool) -> None:
    """Makes every layer of `model` trainable but those asked to be frozen.

    Args:
      model: its attribute `backbone_layers` names the layers that carry pretrained weights.
      backbone: freeze all of these.
      batch_norm: freeze the batch normalisations among these.

    Raises:
      ValueError: the model names no backbone layers.
    """
    names = set(getattr(model, "backbone_layers", ()))
    if (backbone or batch_norm) and not names:
        raise ValueError(f"{model.name} has no pretrained backbone to freeze. Set train.frozen_backbone_epochs = 0.")
    for layer in model.layers:
        is_norm = isinstance(layer, keras.layers.BatchNormalization)
        layer.trainable = not (layer.name in names and (backbone or (batch_norm and is_norm)))
