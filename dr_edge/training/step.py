"""The training step: one tf.function that autograph compiles and `strategy.run` runs on every device."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import keras
import tensorflow as tf

from dr_edge.losses import Loss

TrainStep = Callable[[Mapping[str, tf.Tensor]], tf.Tensor]


def build_train_step(
    model: keras.Model, optimizer: keras.Optimizer, loss: Loss, strategy: tf.distribute.Strategy, batch_size: int
) -> TrainStep:
    """Returns the compiled step.

    Args:
      model: from images [B, S, S, 3] to logits.
      optimizer: built for the model's trainable variables; it sums the gradients of all replicas.
      loss: (label, logits) -> [B] float32.
      strategy: where to run.
      batch_size: examples per step on all replicas together; the loss is their mean.

    Returns:
      {"image", "label"} of a (distributed) batch -> [] float32, the mean loss over the global batch.
    """
    variables = model.trainable_variables

    def replica_step(batch: Mapping[str, tf.Tensor]) -> tf.Tensor:
        with tf.GradientTape() as tape:
            logits = model(batch["image"], training=True)
            value = tf.reduce_sum(loss(batch["label"], logits)) / batch_size
            if model.losses:
                value += tf.add_n(model.losses) / strategy.num_replicas_in_sync
        optimizer.apply(tape.gradient(value, variables), variables)
        return value

    @tf.function
    def train_step(batch: Mapping[str, tf.Tensor]) -> tf.Tensor:
        per_replica = strategy.run(replica_step, args=(batch,))
        return strategy.reduce(tf.distribute.ReduceOp.SUM, per_replica, axis=None)

    return train_step


def build_predict_step(model: keras.Model) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns the compiled forward pass in inference mode: images [B, S, S, 3] float32 0..255 -> logits."""

    @tf.function(reduce_retracing=True)
    def predict_step(images: tf.Tensor) -> tf.Tensor:
        return tf.cast(model(images, training=False), tf.float32)

    return predict_step
