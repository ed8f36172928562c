"""The training loop: one gin-configured function for every task, model and set of devices.

The loop holds no state of its own: all that a run is stands in its variables (model, optimizer) and in a small State
that is saved with them. Order and augmentation are functions of (seed, epoch), so an interrupted run that is started
again by the same command ends with the weights of the uninterrupted one.
"""

from __future__ import annotations

import dataclasses
import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gin
import keras
import numpy as np
import tensorflow as tf
from absl import logging

from dr_edge import losses, metadata
from dr_edge.data import pipeline
from dr_edge.data.tasks import Task
from dr_edge.training import checkpoints, optimizers, run_directory, strategies
from dr_edge.training.freezing import freeze
from dr_edge.training.monitor import Monitor
from dr_edge.training.step import build_predict_step, build_train_step
from dr_edge.training.validation import validate

LOSS_EVERY = 10  # steps between two looks at the loss: reading it waits for the device
LOWER_IS_BETTER = ("loss", "log_loss")


@dataclasses.dataclass
class State:
    """A run's place: what a checkpoint holds beside the variables.

    Attributes:
      epoch: finished epochs.
      step_in_epoch: finished steps of the epoch that runs.
      loss_sum: of those steps.
      best: {"metric", "value", "epoch", "step"} of the best validation so far, or {}.
      seconds: spent training.
    """

    epoch: int = 0
    step_in_epoch: int = 0
    loss_sum: float = 0.0
    best: dict[str, Any] = dataclasses.field(default_factory=dict)
    seconds: float = 0.0


class Interrupted(Exception):
    """The run was asked to stop; it is saved."""


@gin.configurable(module="training")
def train(
    records: str = gin.REQUIRED,
    run_dir: str = gin.REQUIRED,
    task: Task = gin.REQUIRED,
    model: Callable[..., keras.Model] = gin.REQUIRED,
    epochs: int = gin.REQUIRED,
    batch_size: int = gin.REQUIRED,
    learning_rate: optimizers.Schedule = gin.REQUIRED,
    optimizer: Callable[..., keras.Optimizer] = optimizers.adam,
    loss: losses.Loss | None = None,
    strategy: Callable[[], tf.distribute.Strategy] = strategies.one_device,
    select_by: str = "auc",
    checkpoint_epochs: int = 1,
    keep_checkpoints: int = 2,
    early_stopping_epochs: int | None = None,
    frozen_backbone_epochs: int = 0,
    freeze_batch_norm: bool = False,
    wandb_project: str | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Trains a model on the training split, validates after each epoch and keeps the best.

    Args:
      records: a directory that tfrecord_tools.build wrote.
      run_dir: where to write the run; a run of the same configuration there is resumed.
      task: what the model is asked, for example @tasks.referable_dr().
      model: (image_size, outputs) -> Keras model from images 0..255 to logits, for example @mobilenet_v3_cbam.
      epochs: passes over the training split.
      batch_size: examples per step, over all devices.
      learning_rate: a schedule factory, for example @schedules.cosine().
      optimizer: learning rate -> Keras optimizer, for example @optimizers.adam.
      loss: (label, logits) -> [B]; None: cross-entropy for classification, else binary cross-entropy.
      strategy: where to run, for example @strategies.mirrored.
      select_by: validation metric that chooses `best.keras`: higher is better, except for "loss".
      checkpoint_epochs: epochs between checkpoints.
      keep_checkpoints: how many to keep.
      early_stopping_epochs: stop after so many epochs without a better `select_by`; None: never.
      frozen_backbone_epochs: train only the head for so many epochs, with a pretrained backbone.
      freeze_batch_norm: keep the backbone's batch normalisation as it is, also after that.
      wandb_project: also report to Weights & Biases (extra `wandb`; WANDB_MODE=offline keeps it on this machine).
      seed: of initial weights, order, augmentation and dropout.

    Returns:
      The content of run.json.

    Raises:
      ValueError: settings or records that do not fit; a run directory that holds something else.
      FloatingPointError: the loss became NaN or infinite; names the steps.
      Interrupted: SIGINT or SIGTERM; the run is saved.
    """
    _check_settings(
        task, epochs=epochs, batch_size=batch_size, checkpoint_epochs=checkpoint_epochs, keep_checkpoints=keep_checkpoints
    )
    where = strategy()  # first: several machines must be joined before TensorFlow does anything
    chief = strategies.worker(where)[0] == 0
    info = pipeline.read_info(records)
    pipeline.check_task(info, task)
    examples = pipeline.example_count(info, "train", task)
    if examples < batch_size:
        raise ValueError(
            f"train needs a batch_size of at most the {examples} training examples of {records}. "
            f"Received: {batch_size}. Bind a smaller train.batch_size, or build records of more photographs."
        )
    if not pipeline.example_count(info, "val", task):  # fails now rather than after an epoch
        raise ValueError(
            f"{records} holds no validation example for the task {task.name!r}, by which the best epoch is chosen. "
            f"Build the records again with a larger --val_fraction."
        )
    run_path = Path(run_dir)
    if chief and run_directory.claim(run_path, records) == "finished" or run_directory.is_finished(run_path):
        logging.info("%s is finished already; nothing to do.", run_path)
        return metadata.read_manifest(run_path, "run")
    loss = loss or (losses.cross_entropy() if task.kind == "classification" else losses.binary_cross_entropy())
    steps_per_epoch = examples // batch_size
    keras.utils.set_random_seed(seed)
    with where.scope():
        network = model(info.image_size, len(task.class_names))
        schedule = learning_rate(steps_per_epoch, epochs)
        trainer = optimizer(schedule)
        if trainer.weight_decay:
            trainer.exclude_from_weight_decay(var_list=[v for v in network.trainable_variables if len(v.shape) < 2])
        trainer.build(network.trainable_variables)
    variables = [*network.variables, *trainer.variables]
    state = State()
    saved = checkpoints.existing(run_path / "checkpoints")
    if saved:
        state = State(**checkpoints.restore(saved[-1], variables))
        logging.info("Resuming %s after epoch %d, step %d.", run_path, state.epoch, state.step_in_epoch)
    description = {
        "status": "running",
        "task": task.to_json(),
        "model": {"name": network.name, "parameters": network.count_params()},
        "records": str(Path(records).resolve()),
        "dataset": info.content["dataset"],
        "image_size": info.image_size,
        "preprocess": info.preprocess,
        "training_examples": examples,
        "epochs": epochs,
        "batch_size": batch_size,
        "seed": seed,
        "best": state.best,
    }
    if chief:
        run_directory.write_run(run_path, description)
    steps: dict[bool, Callable[..., tf.Tensor]] = {}

    def train_step_of(epoch: int) -> Callable[..., tf.Tensor]:
        """Returns the step of the stage that `epoch` belongs to; each stage trains other variables."""
        frozen = epoch < frozen_backbone_epochs
        if frozen not in steps:
            freeze(network, frozen, freeze_batch_norm)
            steps[frozen] = build_train_step(network, trainer, loss, where, batch_size)
        return steps[frozen]

    predict_step = build_predict_step(network)
    step = state.epoch * steps_per_epoch + state.step_in_epoch
    monitor = Monitor(run_path if chief else None, step, steps_per_epoch * epochs, batch_size, wandb_project, description)

    def batches_of_epoch(shard: tuple[int, int]) -> tf.data.Dataset:
        return pipeline.training_batches(
            records, task, batch_size, seed, state.epoch, state.step_in_epoch, shard=shard
        )

    def save() -> None:
        if not chief:
            return
        at = state.epoch * steps_per_epoch + state.step_in_epoch
        checkpoints.save(run_path / "checkpoints", at, variables, dataclasses.asdict(state), keep_checkpoints)

    try:
        with _stop_requests() as stop:
            while state.epoch < epochs and not _exhausted(state, early_stopping_epochs):
                started = time.monotonic()
                batches = strategies.distribute(where, batches_of_epoch)
                if chief:  # only now have the pipeline and the augmentation been configured, too
                    metadata.write_text(run_path / "operative_config.gin", gin.operative_config_str())
                _run_epoch(state, epochs, batches, train_step_of(state.epoch), monitor, stop)
                state.seconds += time.monotonic() - started
                if stop:
                    save()
                    raise Interrupted(f"Stopped by signal {stop[0]}. Saved. Run the same command again to go on.")
                _finish_epoch(state, steps_per_epoch, monitor, trainer)
                values = validate(predict_step, pipeline.evaluation_batches(records, "val", task, batch_size), task, loss)
                monitor.epoch("val", state.epoch * steps_per_epoch, state.epoch, values)
                if _is_better(values, state.best, select_by):
                    state.best = {
                        "metric": select_by, "value": values[select_by],
                        "epoch": state.epoch, "step": state.epoch * steps_per_epoch,
                    }  # fmt: skip
                    if chief:
                        _save_model(network, run_path / "best.keras")
                        run_directory.write_run(run_path, {**description, "best": state.best})
                if state.epoch % checkpoint_epochs == 0 or state.epoch == epochs:
                    save()
    finally:
        monitor.close()
    finished = {**description, "status": "finished", "best": state.best, "seconds": round(state.seconds, 1)}
    finished["epochs_run"] = state.epoch
    if chief:
        run_directory.write_run(run_path, finished)
    return finished


def _check_settings(task: Task, **counts: int) -> None:
    """Raises ValueError where a binding is of the wrong kind, which gin itself does not notice."""
    if not isinstance(task, Task):
        raise ValueError(f"train.task must be a task. Received: {task!r}. Write it with brackets: @tasks.referable_dr().")
    for name, value in counts.items():
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"train.{name} must be a whole number of at least 1. Received: {value!r}.")


def _run_epoch(
    state: State, epochs: int, batches: Any, train_step: Callable[..., tf.Tensor], monitor: Monitor, stop: list[int]
) -> None:
    """Runs the steps that are left of an epoch, or until a stop is requested, and counts them in `state`."""
    pending: list[tf.Tensor] = []

    def read_losses() -> float:
        values = [float(value) for value in pending]
        pending.clear()
        for offset, value in enumerate(values):
            if not math.isfinite(value):
                bad = state.step_in_epoch - len(values) + offset + 1
                raise FloatingPointError(
                    f"The loss became {value} at step {bad} of epoch {state.epoch + 1}. Lower the learning rate, "
                    f"add warm-up, or look at the inputs in TensorBoard. The last checkpoint is from before."
                )
            state.loss_sum += value
        return values[-1]

    for batch in batches:
        if state.epoch == 0 and state.step_in_epoch == 0 and isinstance(batch["image"], tf.Tensor):
            monitor.images("train/augmented", 0, batch["image"])
        pending.append(train_step(batch))
        state.step_in_epoch += 1
        shown = read_losses() if len(pending) == LOSS_EVERY else None
        monitor.step(state.epoch + 1, epochs, shown)
        if stop:
            break
    if pending:
        read_losses()


def _finish_epoch(state: State, steps_per_epoch: int, monitor: Monitor, optimizer: keras.Optimizer) -> None:
    """Reports the mean training loss of a full epoch and moves `state` to the next one."""
    if state.step_in_epoch != steps_per_epoch:
        raise RuntimeError(
            f"Epoch {state.epoch + 1} gave {state.step_in_epoch} steps where dataset.json promises {steps_per_epoch}. "
            f"Check the records: python -m tfrecord_tools.verify RECORDS"
        )
    values = {"loss": state.loss_sum / steps_per_epoch, "learning_rate": float(np.asarray(optimizer.learning_rate))}
    state.epoch += 1
    monitor.epoch("train", state.epoch * steps_per_epoch, state.epoch, values)
    state.step_in_epoch, state.loss_sum = 0, 0.0


def _is_better(values: dict[str, Any], best: dict[str, Any], select_by: str) -> bool:
    """Says whether the validation `values` beat the best so far; an undefined metric never does, unless it is the first."""
    if select_by not in values:
        raise ValueError(f"train.select_by = {select_by!r}, but validation gives {sorted(values)}.")
    value = values[select_by]
    if not best or best["value"] is None:
        return True
    if value is None:
        return False
    return value < best["value"] if select_by in LOWER_IS_BETTER else value > best["value"]


def _exhausted(state: State, patience: int | None) -> bool:
    return patience is not None and bool(state.best) and state.epoch - state.best["epoch"] >= patience


def _save_model(model: keras.Model, path: Path) -> None:
    """Writes a Keras model whole: under a temporary name, then renamed."""
    temporary = path.with_name(f".{path.stem}.tmp.keras")
    model.save(temporary)
    temporary.replace(path)


@contextmanager
def _stop_requests() -> Iterator[list[int]]:
    """Yields a list that SIGINT and SIGTERM fill; a second signal interrupts at once, as usual."""
    received: list[int] = []

    def note(number: int, frame: Any) -> None:
        received.append(number)
        signal.signal(number, before[number])

    before: dict[int, Any] = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
