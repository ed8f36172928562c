"""Losses of masks that measure overlap, alone or with binary cross-entropy: (label, logits) -> one value per image.

Shapes throughout: label [B, S, S, M] float32 of 0..1, or -1 everywhere where an image has no such mask (it then counts
for nothing); logits of the same shape; result [B] float32, the mean over the masks that are there.
"""

from __future__ import annotations

import gin

from dr_edge.framework import tf
from dr_edge.losses import classification

AXES = (1, 2)


@gin.configurable(module="losses")
def dice(smooth: float = 1.0) -> classification.Loss:
    """1 - soft Dice coefficient (Milletari et al., 2016, with plain sums in the denominator).

    Args:
      smooth: added to numerator and denominator, in pixels: an empty mask that is drawn empty costs nothing.

    Returns:
      (label, logits) -> [B] float32, 0..1.
    """
    _check_positive("dice", smooth=smooth)

    def loss(label: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        truth, drawn, known = _parts(label, logits)
        both = tf.reduce_sum(truth * drawn, AXES)
        sizes = tf.reduce_sum(truth, AXES) + tf.reduce_sum(drawn, AXES)
        return _mean_of_known(1.0 - (2.0 * both + smooth) / (sizes + smooth), known)

    return loss


@gin.configurable(module="losses")
def bce_dice(bce_weight: float = 1.0, dice_weight: float = 1.0, smooth: float = 1.0) -> classification.Loss:
    """Weighted sum of binary cross-entropy (smooth gradients everywhere) and Dice (blind to how small a structure is).

    Args:
      bce_weight, dice_weight: factors of the two.
      smooth: see `dice`.

    Returns:
      (label, logits) -> [B] float32.
    """
    entropy, overlap = classification.binary_cross_entropy(), dice(smooth)

    def loss(label: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        return bce_weight * entropy(label, logits) + dice_weight * overlap(label, logits)

    return loss


@gin.configurable(module="losses")
def focal_tversky(
    alpha: float = 0.7, beta: float = 0.3, gamma: float = 0.75, smooth: float = 1.0
) -> classification.Loss:
    """(1 - Tversky index) ^ gamma (Abraham & Khan, ISBI 2019).

    Args:
      alpha: weight of missed pixels; above `beta` it favours sensitivity.
      beta: weight of pixels drawn in excess; alpha = beta = 0.5 gives Dice.
      gamma: below 1 a mask that is already good keeps a large gradient.
      smooth: as in `dice`, in half pixels.

    Returns:
      (label, logits) -> [B] float32, 0..1.
    """
    _check_positive("focal_tversky", alpha=alpha, beta=beta, gamma=gamma, smooth=smooth)

    def loss(label: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        truth, drawn, known = _parts(label, logits)
        both = tf.reduce_sum(truth * drawn, AXES)
        missed = tf.reduce_sum(truth * (1.0 - drawn), AXES)
        excess = tf.reduce_sum((1.0 - truth) * drawn, AXES)
        index = (both + smooth) / (both + alpha * missed + beta * excess + smooth)
        # The gradient of x ^ gamma is infinite at 0, where a mask without a fault stands.
        return _mean_of_known(tf.maximum(1.0 - index, 1e-6) ** gamma, known)

    return loss


def _check_positive(name: str, **values: float) -> None:
    for key, value in values.items():
        if not value > 0:
            raise ValueError(f"losses.{name}.{key} must be above 0. Received: {value!r}.")


def _parts(label: tf.Tensor, logits: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns truth and probabilities [B, S, S, M] (0 where a mask is missing), which are known [B, M]; float32."""
    known = tf.cast(tf.reduce_all(label >= 0, AXES, keepdims=True), tf.float32)
    drawn = tf.sigmoid(tf.cast(logits, tf.float32)) * known
    return tf.maximum(tf.cast(label, tf.float32), 0.0) * known, drawn, known[:, 0, 0]


def _mean_of_known(values: tf.Tensor, known: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(values * known, -1) / tf.maximum(tf.reduce_sum(known, -1), 1.0)
