"""Trains the twin: the run's data and loss, an optimizer of tf_keras, the best epoch's weights in the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from dr_edge.framework import tf
from export.graph.heads import block_mask
from export.qat.tfmot import tf_keras


class _Optimizer:
    """Lets a tf_keras optimizer take the place of a Keras 3 one in the training step."""

    def __init__(self, learning_rate: Any, masks: Mapping[Any, np.ndarray]) -> None:
        self._optimizer = tf_keras.optimizers.Adam(learning_rate)
        self._masks = masks  # by reference of a variable: 0 where it does not move

    def build(self, variables: Sequence[Any]) -> None:
        self._optimizer.build(variables)

    def apply(self, gradients: Sequence[Any], variables: Sequence[Any]) -> None:
        pairs = [
            (gradient, variable)
            for gradient, variable in zip(gradients, variables, strict=True)
            if gradient is not None
        ]
        # Without a gradient Adam's moments stay 0, and with them the step.
        self._optimizer.apply_gradients(
            [(gradient * self._masks.get(variable.ref(), 1.0), variable) for gradient, variable in pairs]
        )


def fine_tune(
    model: tf_keras.Model,
    batches: Callable[[int], Iterator[Mapping[str, Any]]],
    loss: Callable[[Any, Any], Any],
    evaluate: Callable[[tf_keras.Model], float],
    *,
    epochs: int,
    steps_per_epoch: int,
    learning_rate: float,
    batch_size: int,
    progress: Callable[[], None],
) -> list[float]:
    """Trains with the run's data and loss and leaves the best epoch's weights in the model; epoch 0 counts.

    Heads that are apart stay apart (see `block_mask`).

    Args:
      model: from `quantised_twin`; its first output is the logits.
      batches: epoch -> batches of {"image", "label"}.
      loss: (label, logits) -> [B].
      evaluate: model -> value on the validation split, lower is better.
      epochs, steps_per_epoch, learning_rate, batch_size: of the fine-tuning; the rate falls along a cosine.
      progress: called after each step.

    Returns:
      The validation value before training and after each epoch.

    Raises:
      FloatingPointError: the loss is not finite.
    """
    from dr_edge.training.step import build_train_step

    logits = tf_keras.Model(model.input, model.outputs[0])
    schedule = tf_keras.optimizers.schedules.CosineDecay(learning_rate, max(1, epochs * steps_per_epoch))
    kernels = [layer.kernel for layer in model.layers if layer.name == "logits"]
    masks = {kernel.ref(): mask for kernel in kernels if (mask := block_mask(kernel.numpy())) is not None}
    optimizer = _Optimizer(schedule, masks)
    optimizer.build(logits.trainable_variables)
    step = build_train_step(logits, optimizer, loss, tf.distribute.get_strategy(), batch_size)
    values, best = [evaluate(model)], model.get_weights()
    for epoch in range(epochs):
        for number, batch in enumerate(batches(epoch)):
            value = float(step(batch))
            if not np.isfinite(value):
                raise FloatingPointError(
                    f"The loss became {value} at step {number + 1} of epoch {epoch + 1} of quantisation-aware training."
                    " Lower export.qat.learning_rate."
                )
            progress()
        values.append(evaluate(model))
        if values[-1] <= min(values[:-1]):
            best = model.get_weights()
    model.set_weights(best)
    return values
