"""Optimizers and learning-rate schedules, as factories for gin.

A schedule factory is called with the number of steps per epoch and of epochs; an optimizer factory with the schedule.
Weight decay is decoupled (Loshchilov & Hutter, 2019) and leaves biases and normalisation parameters alone, which the
training loop sees to.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import gin

from dr_edge.framework import keras

Schedule = Callable[[int, int], Any]


@gin.configurable(module="schedules")
def constant(learning_rate: float = gin.REQUIRED) -> Schedule:
    """The same learning rate at every step."""
    return lambda steps_per_epoch, epochs: learning_rate


@gin.configurable(module="schedules")
def cosine(learning_rate: float = gin.REQUIRED, warmup_epochs: float = 0.0, final_fraction: float = 0.0) -> Schedule:
    """Rises linearly from 0 to `learning_rate` in `warmup_epochs`, then falls along a cosine.

    Args:
      learning_rate: the peak.
      warmup_epochs: may be fractional.
      final_fraction: of the peak, reached at the last step.
    """

    def schedule(steps_per_epoch: int, epochs: int) -> keras.optimizers.schedules.LearningRateSchedule:
        warmup = round(warmup_epochs * steps_per_epoch)
        decay = max(steps_per_epoch * epochs - warmup, 1)
        if not warmup:
            return keras.optimizers.schedules.CosineDecay(learning_rate, decay, alpha=final_fraction)
        return keras.optimizers.schedules.CosineDecay(
            0.0, decay, alpha=final_fraction, warmup_target=learning_rate, warmup_steps=warmup
        )

    return schedule


@gin.configurable(module="schedules")
def step_decay(learning_rate: float = gin.REQUIRED, every_epochs: int = gin.REQUIRED, factor: float = 0.1) -> Schedule:
    """Multiplies the learning rate by `factor` after each `every_epochs` epochs (StepLR)."""

    def schedule(steps_per_epoch: int, epochs: int) -> keras.optimizers.schedules.LearningRateSchedule:
        return keras.optimizers.schedules.ExponentialDecay(
            learning_rate, every_epochs * steps_per_epoch, factor, staircase=True
        )

    return schedule


@keras.saving.register_keras_serializable(package="dr_edge")
class TwoStage(keras.optimizers.schedules.LearningRateSchedule):
    """A constant rate for the first steps, then a cosine from another rate to 0."""

    def __init__(self, head_rate: float, head_steps: int, rate: float, total_steps: int) -> None:
        self._config = {"head_rate": head_rate, "head_steps": head_steps, "rate": rate, "total_steps": total_steps}

    def __call__(self, step: Any) -> Any:
        """Returns the learning rate of a step as a [] float32 tensor."""
        head_steps, total = self._config["head_steps"], self._config["total_steps"]
        done = (keras.ops.cast(step, "float32") - head_steps) / max(total - head_steps, 1)
        fall = 0.5 * (1.0 + keras.ops.cos(math.pi * keras.ops.clip(done, 0.0, 1.0)))
        return keras.ops.where(done < 0, self._config["head_rate"], self._config["rate"] * fall)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return dict(self._config)


@gin.configurable(module="schedules")
def two_stage(
    head_learning_rate: float = gin.REQUIRED, head_epochs: int = gin.REQUIRED, learning_rate: float = gin.REQUIRED
) -> Schedule:
    """Transfer learning: a constant rate while only the head learns, then a cosine to 0 for all layers.

    Args:
      head_learning_rate: of the first `head_epochs` epochs.
      head_epochs: bind it to the same macro as train.frozen_backbone_epochs.
      learning_rate: at which the second stage starts.
    """

    def schedule(steps_per_epoch: int, epochs: int) -> TwoStage:
        return TwoStage(head_learning_rate, head_epochs * steps_per_epoch, learning_rate, epochs * steps_per_epoch)

    return schedule


@gin.configurable(module="optimizers")
def adam(learning_rate: Any, beta_1: float = 0.9, beta_2: float = 0.999, epsilon: float = 1e-7) -> keras.Optimizer:
    """Adam (Kingma & Ba, 2015)."""
    return keras.optimizers.Adam(learning_rate, beta_1=beta_1, beta_2=beta_2, epsilon=epsilon)


@gin.configurable(module="optimizers")
def adamw(
    learning_rate: Any, weight_decay: float = 1e-4, beta_1: float = 0.9, beta_2: float = 0.999
) -> keras.Optimizer:
    """AdamW (Loshchilov & Hutter, 2019)."""
    return keras.optimizers.AdamW(learning_rate, weight_decay=weight_decay, beta_1=beta_1, beta_2=beta_2)


@gin.configurable(module="optimizers")
def sgd(
    learning_rate: Any, momentum: float = 0.9, nesterov: bool = True, weight_decay: float | None = None
) -> keras.Optimizer:
    """Stochastic gradient descent with momentum."""
    return keras.optimizers.SGD(learning_rate, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay)
