"""How far the answers to two views of the same photographs lie apart."""

from __future__ import annotations

from collections.abc import Callable

from dr_edge.framework import tf

Divergence = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


def consistency(kind: str, weight: float) -> Divergence:
    """Returns `weight` times the symmetric Kullback-Leibler divergence of two answers.

    It is the mean of both directions, sum_k (p_k - q_k) (log p_k - log q_k) / 2, of softmax probabilities p and q
    (classification), or of those of each disease and of its absence, averaged over the diseases (multilabel). Gradients
    go through both answers. No label is needed: missing ones count, too.

    Args:
      kind: of the task.
      weight: `train.consistency`.

    Returns:
      (logits [B, C], logits [B, C]) -> [B] float32, 0 where the two are alike.

    Raises:
      ValueError: masks, which move with their view, so that two views have no pixels in common.
    """
    between = {"classification": _of_classes, "multilabel": _of_diseases}.get(kind)
    if between is None:
        raise ValueError(
            f"train.consistency compares what is answered to two views of an image, and a task of kind {kind!r} gives "
            "no answer of that sort. Bind train.consistency = 0."
        )
    return lambda first, second: weight * between(first, second)


def _of_classes(first: tf.Tensor, second: tf.Tensor) -> tf.Tensor:
    log_p, log_q = (tf.nn.log_softmax(tf.cast(logits, tf.float32)) for logits in (first, second))
    return 0.5 * tf.reduce_sum((tf.exp(log_p) - tf.exp(log_q)) * (log_p - log_q), -1)


def _of_diseases(first: tf.Tensor, second: tf.Tensor) -> tf.Tensor:
    z, w = tf.cast(first, tf.float32), tf.cast(second, tf.float32)
    # (p - q) (log p - log q) + (q - p) (log (1 - p) - log (1 - q)) = (p - q) (z - w), for logits z and w.
    return 0.5 * tf.reduce_mean((tf.sigmoid(z) - tf.sigmoid(w)) * (z - w), -1)
