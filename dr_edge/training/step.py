"""The training step: one tf.function that autograph compiles and `strategy.run` runs on every device."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from dr_edge.framework import keras, tf
from dr_edge.losses.classification import Loss
from dr_edge.losses.consistency import Divergence
from dr_edge.training.averaging import WeightAverage

TrainStep = Callable[[Mapping[str, tf.Tensor]], tf.Tensor]


def build_train_step(
    model: keras.Model,
    optimizer: keras.Optimizer,
    loss: Loss,
    strategy: tf.distribute.Strategy,
    batch_size: int,
    clip_norm: float | None = None,
    average: WeightAverage | None = None,
    xla: bool = False,
    consistency: Divergence | None = None,
) -> TrainStep:
    """Returns the compiled step.

    Args:
      model: from images [B, S, S, 3] to logits.
      optimizer: built for the model's trainable variables; it sums the gradients of all replicas.
      loss: (label, logits) -> [B] float32.
      strategy: where to run.
      batch_size: examples per step on all replicas together; the loss is their mean.
      clip_norm: largest norm of the gradient of the whole batch with respect to all weights; None: any.
      average: also moved, after the optimizer's step.
      xla: compile the step of each device by XLA.
      consistency: (logits, logits) -> [B] float32. Both views of a batch are then learned from, each by half the loss,
        to which the divergence of their answers is added. None: there is one view.

    Returns:
      {"image", "label"} (and "weight" [B], factors of the loss; with consistency "second_view", of the shape of
      "image") of a (distributed) batch -> [] float32, the mean loss over the global batch.
    """
    variables = model.trainable_variables
    replicas = strategy.num_replicas_in_sync
    scaling = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)

    def loss_of_each(batch: Mapping[str, tf.Tensor]) -> tf.Tensor:
        if consistency is None:
            return loss(batch["label"], model(batch["image"], training=True))
        both = model(tf.concat([batch["image"], batch["second_view"]], axis=0), training=True)
        first, second = tf.split(both, 2)
        learned = 0.5 * (loss(batch["label"], first) + loss(batch["label"], second))
        return learned + consistency(first, second)

    def replica_step(batch: Mapping[str, tf.Tensor]) -> tf.Tensor:
        with tf.GradientTape() as tape:
            each = loss_of_each(batch)
            if "weight" in batch:
                each *= batch["weight"]
            value = tf.reduce_sum(each) / batch_size
            if model.losses:
                value += tf.add_n([tf.cast(penalty, value.dtype) for penalty in model.losses]) / replicas
            target = optimizer.scale_loss(value) if scaling else value
        gradients = tape.gradient(target, variables)
        if clip_norm is not None:
            scale = tf.convert_to_tensor(optimizer.dynamic_scale) if scaling else 1.0
            gradients = clip_global_norm(gradients, clip_norm * scale, replicas)
        optimizer.apply(gradients, variables)
        return value

    replica = tf.function(replica_step, jit_compile=True) if xla else replica_step

    @tf.function
    def train_step(batch: Mapping[str, tf.Tensor]) -> tf.Tensor:
        per_replica = strategy.run(replica, args=(batch,))
        if average is not None:
            average.update(strategy)
        return strategy.reduce(tf.distribute.ReduceOp.SUM, per_replica, axis=None)

    return train_step


def clip_global_norm(
    gradients: Sequence[tf.Tensor | None], largest: float | tf.Tensor, replicas: int
) -> list[tf.Tensor | None]:
    """Scales gradients so that those of the whole batch have at most the norm `largest` (Pascanu et al., 2013).

    Keras's own global_clipnorm clips what each replica has before they are summed, so that the result depends on the
    number of devices; here they are summed before.

    Args:
      gradients: of this replica; None where a variable has none.
      largest: norm.
      replicas: the optimizer will sum the results of so many replicas.

    Returns:
      Gradients whose sum over the replicas is the clipped gradient. A norm that is not finite gives NaN.
    """
    known = [tf.convert_to_tensor(gradient) for gradient in gradients if gradient is not None]
    if replicas > 1:
        context = tf.distribute.get_replica_context()
        known = [gradient / replicas for gradient in context.all_reduce(tf.distribute.ReduceOp.SUM, known)]
    norm = tf.linalg.global_norm(known) * replicas
    factor = largest / tf.maximum(norm, largest)  # 1 where the norm is small enough
    factor = tf.where(tf.math.is_finite(norm), factor, float("nan"))
    clipped = iter([gradient * tf.cast(factor, gradient.dtype) for gradient in known])
    return [None if gradient is None else next(clipped) for gradient in gradients]


def build_predict_step(model: keras.Model) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns the compiled forward pass in inference mode: images [B, S, S, 3] float32 0..255 -> logits."""

    @tf.function(reduce_retracing=True)
    def predict_step(images: tf.Tensor) -> tf.Tensor:
        return tf.cast(model(images, training=False), tf.float32)

    return predict_step
