"""System E's loss for several diseases at once."""

from __future__ import annotations

import math

import gin

from dr_edge.framework import tf
from dr_edge.losses.classification import Loss


@gin.configurable(module="losses")
def exp_uwbce(positive_weight: float = 1.0, negative_weight: float = 1.0, smallest_probability: float = 1e-4) -> Loss:
    """Exponential uneven weighted binary cross-entropy: W1 (exp(-y log p) - 1) - W2 (1 - y) log(1 - p).

    A missed disease costs 1/p - 1 in place of -log p, which explodes as p falls to 0: it wants a small learning rate
    (1e-5). Computed from the logit, in 32 bits. Below `smallest_probability` the first term goes on along its tangent
    in log p, so that neither it nor its gradient overflows, in 16 bits either, and the gradient never vanishes.

    Args:
      positive_weight: W1, the factor of the term that punishes missed diseases.
      negative_weight: W2, the factor of the term that punishes false alarms.
      smallest_probability: down to this p^y the formula holds exactly. The largest gradient is its inverse times W1:
        1e-4 keeps it within float16's 65,504.

    Returns:
      (label [B, L] float32 of 0..1 or -1 (missing), logits [B, L]) -> [B] float32, the mean over the known labels.

    Raises:
      ValueError: a weight below 0, or smallest_probability outside 0..1.
    """
    if positive_weight < 0 or negative_weight < 0 or not 0 < smallest_probability < 1:
        raise ValueError(
            "exp_uwbce needs weights >= 0 and 0 < smallest_probability < 1. "
            f"Received: {positive_weight}, {negative_weight}, {smallest_probability}."
        )
    limit = -math.log(smallest_probability)

    def loss(label: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        known = tf.cast(label >= 0, tf.float32)
        target, z = tf.maximum(tf.cast(label, tf.float32), 0.0), tf.cast(logits, tf.float32)
        exponent = target * tf.nn.softplus(-z)  # -y log p
        within = tf.minimum(exponent, limit)
        missed = tf.math.expm1(within) + math.exp(limit) * (exponent - within)
        alarmed = (1.0 - target) * tf.nn.softplus(z)  # -(1 - y) log(1 - p)
        value = (positive_weight * missed + negative_weight * alarmed) * known
        return tf.reduce_sum(value, -1) / tf.maximum(tf.reduce_sum(known, -1), 1.0)

    return loss
