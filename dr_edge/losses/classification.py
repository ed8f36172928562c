"""Losses: functions of (label, logits) that give one value per example, so that the loop can weigh and average them.

Each gin configurable is a factory: it takes the settings and returns the loss function.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import gin

from dr_edge.framework import tf

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
        return value if class_weights is None else value * _class_factor(label, classes, class_weights)

    return loss


def _class_factor(label: tf.Tensor, classes: int, class_weights: Sequence[float]) -> tf.Tensor:
    """Returns the weight of each label's class, [B] float32."""
    if len(class_weights) != classes:
        raise ValueError(f"class_weights needs {classes} values. Received: {list(class_weights)}.")
    return tf.gather(tf.constant(class_weights, tf.float32), label)


@gin.configurable(module="losses")
def focal(gamma: float = 2.0, class_weights: Sequence[float] | None = None) -> Loss:
    """Softmax focal loss: cross-entropy times (1 - p)^gamma, p being the true class's probability (Lin et al., 2017).

    Args:
      gamma: >= 0; 0 is cross-entropy, larger values look away from what is learned already.
      class_weights: the paper's alpha: one factor per class; None: all 1.

    Returns:
      (label [B] int32, logits [B, C]) -> [B] float32.

    Raises:
      ValueError: a negative gamma.
    """
    _check_gamma(gamma)

    def loss(label: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        classes = logits.shape[-1]
        log_p = tf.nn.log_softmax(tf.cast(logits, tf.float32))
        true = tf.one_hot(label, classes)
        log_true = tf.reduce_sum(true * log_p, -1)
        # 1 - p as the sum of the other classes, which keeps its digits where p is nearly 1.
        others = tf.reduce_sum((1.0 - true) * tf.exp(log_p), -1)
        value = -_power(others, gamma) * log_true
        return value if class_weights is None else value * _class_factor(label, classes, class_weights)

    return loss


@gin.configurable(module="losses")
def binary_focal(gamma: float = 2.0, alpha: float | None = 0.25) -> Loss:
    """Sigmoid focal loss for multilabel and segmentation tasks (Lin et al., 2017); missing targets (-1) are left out.

    Args:
      gamma: >= 0, see `focal`.
      alpha: 0..1, weight of the positive targets, 1 - alpha of the negative ones; None: both 1.

    Returns:
      (label [B, ...] float32 of 0, 1 or -1, logits of the same shape) -> [B] float32, the mean over what is known.

    Raises:
      ValueError: a negative gamma, or alpha outside 0..1.
    """
    _check_gamma(gamma)
    if alpha is not None and not 0 <= alpha <= 1:
        raise ValueError(f"alpha must be within 0..1. Received: {alpha}.")

    def loss(label: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        logits, target = tf.cast(logits, tf.float32), tf.maximum(label, 0.0)
        entropy = tf.nn.sigmoid_cross_entropy_with_logits(target, logits)
        wrong = tf.sigmoid(tf.where(target > 0.5, -logits, logits))  # probability of the false answer
        value = _power(wrong, gamma) * entropy
        if alpha is not None:
            value *= tf.where(target > 0.5, alpha, 1.0 - alpha)
        return _mean_of_known(value, label)

    return loss


@gin.configurable(module="losses")
def expected_grade() -> Loss:
    """Regression for quadratic weighted kappa: squared distance of the mean grade from the true one.

    The mean squared distance of grades is what QWK puts against chance, so this loss asks for it directly. The mean
    grade is that of the class probabilities, sum_k k p_k. Use it with models.grade_regression, whose probabilities have
    one peak, so that the most probable class is the rounded grade.

    Returns:
      (label [B] int32, logits [B, C]) -> [B] float32, in squared grades.
    """

    def loss(label: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        probabilities = tf.nn.softmax(tf.cast(logits, tf.float32))
        grades = tf.range(logits.shape[-1], dtype=tf.float32)
        return tf.square(tf.reduce_sum(probabilities * grades, -1) - tf.cast(label, tf.float32))

    return loss


def _check_gamma(gamma: float) -> None:
    if gamma < 0:
        raise ValueError(f"gamma must be at least 0. Received: {gamma}.")


def _power(base: tf.Tensor, exponent: float) -> tf.Tensor:
    """Returns base^exponent for base >= 0, with the gradient 0 instead of infinity or NaN at base = 0."""
    return tf.ones_like(base) if exponent == 0 else tf.pow(tf.maximum(base, 1e-12), exponent)


@gin.configurable(module="losses")
def binary_cross_entropy(positive_weight: float = 1.0) -> Loss:
    """Sigmoid cross-entropy for multilabel and segmentation tasks; missing targets (-1) count for nothing.

    Args:
      positive_weight: factor of the positive targets' term.

    Returns:
      (label [B, ...] float32 of 0, 1 or -1, logits of the same shape) -> [B] float32, the mean over what is known.
    """

    def loss(label: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        value = tf.nn.weighted_cross_entropy_with_logits(
            tf.maximum(label, 0.0), tf.cast(logits, tf.float32), pos_weight=positive_weight
        )
        return _mean_of_known(value, label)

    return loss


def _mean_of_known(value: tf.Tensor, label: tf.Tensor) -> tf.Tensor:
    """Returns each example's mean [B] of `value` over the targets that are not missing (-1); 0 where all are."""
    known = tf.cast(label >= 0, tf.float32)
    axes = list(range(1, label.shape.rank))
    return tf.reduce_sum(value * known, axes) / tf.maximum(tf.reduce_sum(known, axes), 1.0)
