"""Losses: functions of (label, logits) that give one value per example, so that the loop can weigh and average them.

Each gin configurable is a factory: it takes the settings and returns the loss function.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import gin
import tensorflow as tf

Loss = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


@gin.configurable(module="losses")
def cross_entropy(label_smoothing: float = 0.0, class_weights: Sequence[float] | None = None) -> Loss:
    """Softmax cross-entropy for classification.

    Args:
      label_smoothing: 0..1; the share of the target spread evenly over the classes (Szegedy et al., 2016).
      class_weights: one factor per class, by which its examples' losses are multiplied; None: all 1.

    Returns:
      (label [B] int32, logits [B, C] float32) -> [B] float32, in nats.

    Raises:
      ValueError: label_smoothing outside 0..1.
    """
    if not 0 <= label_smoothing < 1:
        raise ValueError(f"label_smoothing must be within 0..1. Received: {label_smoothing}.")

    def loss(label: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        classes = logits.shape[-1]
        target = tf.one_hot(label, classes) * (1.0 - label_smoothing) + label_smoothing / classes
        value = tf.nn.softmax_cross_entropy_with_logits(target, tf.cast(logits, tf.float32))
        if class_weights is not None:
            if len(class_weights) != classes:
                raise ValueError(f"class_weights needs {classes} values. Received: {list(class_weights)}.")
            value *= tf.gather(tf.constant(class_weights, tf.float32), label)
        return value

    return loss


@gin.configurable(module="losses")
def binary_cross_entropy(positive_weight: float = 1.0) -> Loss:
    """Sigmoid cross-entropy for multilabel and segmentation tasks; missing targets (-1) count for nothing.

    Args:
      positive_weight: factor of the positive targets' term.

    Returns:
      (label [B, ...] float32 of 0, 1 or -1, logits of the same shape) -> [B] float32, the mean over what is known.
    """

    def loss(label: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        known = tf.cast(label >= 0, tf.float32)
        value = tf.nn.weighted_cross_entropy_with_logits(
            tf.maximum(label, 0.0), tf.cast(logits, tf.float32), pos_weight=positive_weight
        )
        axes = list(range(1, label.shape.rank))
        return tf.reduce_sum(value * known, axes) / tf.maximum(tf.reduce_sum(known, axes), 1.0)

    return loss
