"""What is settled before anything is built or written: the settings of a run, and whether its records fit them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

from absl import logging

from dr_edge.data import coverage, pipeline
from dr_edge.data.records_info import RecordsInfo, read_info
from dr_edge.data.tasks import LabelTask, Task
from dr_edge.framework import keras, tf
from dr_edge.losses.classification import Loss
from dr_edge.losses.consistency import consistency
from dr_edge.training import optimizers
from dr_edge.training import precision as precision_lib

# How a gin file chooses them; dr_edge.choices reads other spellings.
FORMS = {
    "model": "@models.unet",
    "optimizer": "@optimizers.adam",
    "loss": "@losses.focal()",
    "strategy": "@strategies.mirrored",
}


@dataclasses.dataclass(frozen=True)
class Settings:
    """The arguments of `loop.train`, where each is described."""

    records: str
    run_dir: str
    task: Task | LabelTask
    model: Callable[..., keras.Model]
    epochs: int
    batch_size: int
    learning_rate: optimizers.Schedule | float
    optimizer: Callable[..., keras.Optimizer]
    loss: Loss | None
    consistency: float
    strategy: Callable[[], tf.distribute.Strategy]
    select_by: str
    checkpoint_epochs: int
    checkpoint_minutes: float | None
    keep_checkpoints: int
    early_stopping_epochs: int | None
    frozen_backbone_epochs: int
    freeze_batch_norm: bool
    initial_weights: str | None
    clip_norm: float | None
    ema_decay: float | None
    precision: str
    xla: bool
    wandb_project: str | None
    seed: int

    def check(self) -> None:
        """Looks at the values alone.

        Raises:
          ValueError: one is of the wrong kind or outside its range; names the binding.
        """
        _check_kinds(
            self.task, epochs=self.epochs, batch_size=self.batch_size, checkpoint_epochs=self.checkpoint_epochs,
            keep_checkpoints=self.keep_checkpoints,
        )  # fmt: skip
        as_schedule(self.learning_rate)
        _check_factories(model=self.model, optimizer=self.optimizer, loss=self.loss, strategy=self.strategy)
        _check_numbers(self.ema_decay, checkpoint_minutes=self.checkpoint_minutes, clip_norm=self.clip_norm)
        if isinstance(self.consistency, str) or not 0 <= self.consistency < math.inf:
            raise ValueError(f"train.consistency must be a number of at least 0. Received: {self.consistency!r}.")
        precision_lib.check(self.precision)

    def check_devices(self, where: tf.distribute.Strategy) -> None:
        """Raises ValueError where XLA is asked for on several devices."""
        if self.xla and where.num_replicas_in_sync > 1:
            raise ValueError(f"train.xla needs one device, found {where.num_replicas_in_sync}. Bind train.xla = False.")


@dataclasses.dataclass(frozen=True)
class Examples:
    """The records of a run, and what the task makes of them.

    Attributes:
      info: what dataset.json says.
      task: with its class names.
      count: training examples that the task uses.
    """

    info: RecordsInfo
    task: Task
    count: int


def check_records(settings: Settings, chief: bool) -> Examples:
    """Reads dataset.json and holds the settings against it.

    Args:
      settings: of the run.
      chief: this worker says what validation and test will not show.

    Raises:
      ManifestError: no finished records.
      ValueError: they do not hold what the task reads, too few examples to train, or none to validate.
    """
    records, batch_size = settings.records, settings.batch_size
    info = read_info(records)
    task = pipeline.resolve(info, settings.task)
    pipeline.check_task(info, task)
    if settings.consistency:
        consistency(task.kind, settings.consistency)  # refuses masks
    examples = pipeline.example_count(info, "train", task)
    if examples < batch_size:
        raise ValueError(
            f"train needs a batch_size of at most the {examples} training examples of {records}. "
            f"Received: {batch_size}. Bind a smaller train.batch_size, or build records of more photographs."
        )
    if not pipeline.example_count(info, "val", task):  # fails now rather than after an epoch
        raise ValueError(
            f"{records} holds no validation example for the task {task.name!r}, by which the best epoch is chosen. "
            "Build the records again with a larger --val_fraction."
        )
    coverage.check_training_classes(info, task)
    if chief:
        for text in [
            *coverage.cautions(info, "val", task),
            *coverage.cautions(info, "test", task),
            *coverage.kinds_not_stated(info),
            *[task.caution] * (task.caution is not None),
        ]:
            logging.warning("%s", text)
    return Examples(info, task, examples)


def as_schedule(learning_rate: Any) -> optimizers.Schedule:
    """Returns a schedule factory; of a number, one of that constant rate. Raises ValueError for anything else."""
    if isinstance(learning_rate, int | float) and not isinstance(learning_rate, bool) and learning_rate > 0:
        return optimizers.constant(learning_rate=learning_rate)
    if not callable(learning_rate):
        raise ValueError(
            f"train.learning_rate must be a number above 0, or a schedule. Received: {learning_rate!r}. For example "
            "train.learning_rate = @schedules.cosine()."
        )
    return learning_rate


def _check_factories(**factories: Any) -> None:
    """Raises ValueError where what makes a part of the run cannot be called: a text, or a finished part."""
    for name, factory in factories.items():
        if not callable(factory) and not (factory is None and name == "loss"):
            raise ValueError(f"train.{name} must be a function, as {FORMS[name]}. Received: {factory!r}.")


def _check_kinds(task: Task | LabelTask, **counts: int) -> None:
    """Raises ValueError where a binding is of the wrong kind, which gin itself does not notice."""
    if not isinstance(task, (Task, LabelTask)):
        raise ValueError(
            f"train.task must be a task. Received: {task!r}. Write it with brackets: @tasks.referable_dr()."
        )
    for name, value in counts.items():
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"train.{name} must be a whole number of at least 1. Received: {value!r}.")


def _check_numbers(ema_decay: float | None, **values: float | None) -> None:
    """Raises ValueError where ema_decay lies outside 0..1, or another value is neither None nor a number above 0."""
    if ema_decay is not None and (isinstance(ema_decay, str) or not 0 < ema_decay < 1):
        raise ValueError(f"train.ema_decay must lie between 0 and 1, for example 0.999. Received: {ema_decay!r}.")
    for name, value in values.items():
        if value is not None and (isinstance(value, str) or not value > 0):
            raise ValueError(f"train.{name} must be None or a number above 0. Received: {value!r}.")
