"""The training loop: one gin-configured function for every task, model and set of devices.

The loop holds no state of its own: all that a run is stands in its variables (model, optimizer) and in a small State
that is saved with them. Order and augmentation are functions of (seed, epoch), so an interrupted run that is started
again by the same command ends with the weights of the uninterrupted one.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gin
from absl import logging

from dr_edge import metadata
from dr_edge.data import coverage, pipeline
from dr_edge.data.tasks import LabelTask, Task
from dr_edge.framework import keras, tf
from dr_edge.losses import classification as losses
from dr_edge.training import checkpoints, initial, optimizers, run_directory, strategies, workers
from dr_edge.training import networks as parts_lib
from dr_edge.training import precision as precision_lib
from dr_edge.training.epoch import DIVERGED, Timer, finish_epoch, run_epoch, stop_requests
from dr_edge.training.freezing import freeze
from dr_edge.training.monitor import Monitor
from dr_edge.training.selection import is_better, is_exhausted, undefined
from dr_edge.training.step import build_predict_step, build_train_step
from dr_edge.training.validation import validate

# How a gin file chooses them; dr_edge.choices reads other spellings.
FORMS = {"model": "@models.unet", "optimizer": "@optimizers.adam", "loss": "@losses.focal()", "strategy": "@strategies.mirrored"}


class Interrupted(Exception):
    """The run was asked to stop; it is saved."""


@gin.configurable(module="training")
def train(
    records: str = gin.REQUIRED,
    run_dir: str = gin.REQUIRED,
    task: Task | LabelTask = gin.REQUIRED,
    model: Callable[..., keras.Model] = gin.REQUIRED,
    epochs: int = gin.REQUIRED,
    batch_size: int = gin.REQUIRED,
    learning_rate: optimizers.Schedule | float = gin.REQUIRED,
    optimizer: Callable[..., keras.Optimizer] = optimizers.adam,
    loss: losses.Loss | None = None,
    strategy: Callable[[], tf.distribute.Strategy] = strategies.one_device,
    select_by: str = "auc",
    checkpoint_epochs: int = 1,
    checkpoint_minutes: float | None = None,
    keep_checkpoints: int = 2,
    early_stopping_epochs: int | None = None,
    frozen_backbone_epochs: int = 0,
    freeze_batch_norm: bool = False,
    initial_weights: str | None = None,
    clip_norm: float | None = None,
    ema_decay: float | None = None,
    precision: str = "float32",
    xla: bool = False,
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
      learning_rate: a schedule factory, for example @schedules.cosine(), or a number: a constant one.
      optimizer: learning rate -> Keras optimizer, for example @optimizers.adam.
      loss: (label, logits) -> [B]; None: cross-entropy for classification, else binary cross-entropy.
      strategy: where to run, for example @strategies.mirrored.
      select_by: validation metric that chooses `best.keras`: higher is better, except for "loss".
      checkpoint_epochs: epochs between checkpoints.
      checkpoint_minutes: also save, between two steps, after so many minutes; None: only after epochs.
      keep_checkpoints: how many to keep.
      early_stopping_epochs: stop after so many epochs without a better `select_by`; None: never.
      frozen_backbone_epochs: train only the head for so many epochs, with a pretrained backbone.
      freeze_batch_norm: keep the backbone's batch normalisation as it is, also after that.
      initial_weights: run directory of a finished run of the same network, from whose best model to start (a second stage).
      clip_norm: largest norm of a step's gradient with respect to all weights together; None: any.
      ema_decay: validate and save the moving average of the weights with this decay, for example 0.999; None: the weights.
      precision: "float32", "bfloat16" or "float16" (with loss scaling): of the arithmetic in training. Weights, validation and
        `best.keras` are float32.
      xla: compile the training step by XLA; on one device.
      wandb_project: also report to Weights & Biases (extra `wandb`; WANDB_MODE=offline keeps it on this machine).
      seed: of initial weights, order, augmentation and dropout.

    Returns:
      The content of run.json.

    Raises:
      ValueError: settings or records that do not fit; a run directory that holds something else.
      FloatingPointError: the loss, the weights or the outputs became NaN or infinite; names the step.
      WorkerLost: another machine of the run is gone; names it.
      Interrupted: SIGINT or SIGTERM; the run is saved.
    """
    _check_settings(
        task, epochs=epochs, batch_size=batch_size, checkpoint_epochs=checkpoint_epochs, keep_checkpoints=keep_checkpoints
    )
    learning_rate = _as_schedule(learning_rate)
    _check_factories(model=model, optimizer=optimizer, loss=loss, strategy=strategy)
    _check_numbers(ema_decay, checkpoint_minutes=checkpoint_minutes, clip_norm=clip_norm)
    precision_lib.check(precision)
    where = strategy()  # first: several machines must be joined before TensorFlow does anything
    if xla and where.num_replicas_in_sync > 1:
        raise ValueError(f"train.xla needs one device, found {where.num_replicas_in_sync}. Bind train.xla = False.")
    chief = strategies.worker(where)[0] == 0
    info = pipeline.read_info(records)
    task = pipeline.resolve(info, task)
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
    coverage.check_training_classes(info, task)
    if chief:
        for text in [*coverage.cautions(info, "val", task), *coverage.cautions(info, "test", task)]:
            logging.warning("%s", text)
    run_path = Path(run_dir)
    if chief and run_directory.claim(run_path, records) == "finished" or run_directory.is_finished(run_path):
        logging.info("%s is finished already; nothing to do.", run_path)
        return metadata.read_manifest(run_path, "run")
    if task.kind == "classification":
        logging.info("%s.", task.disease)
    loss = loss or (losses.cross_entropy() if task.kind == "classification" else losses.binary_cross_entropy())
    steps_per_epoch = examples // batch_size
    keras.utils.set_random_seed(seed)
    parts = parts_lib.build(
        where, lambda: model(info.image_size, len(task.class_names)), optimizer, lambda: learning_rate(steps_per_epoch, epochs),
        ema_decay, precision,
    )  # fmt: skip
    network = parts.network
    origin = None if initial_weights is None else initial.load(network, initial_weights)
    variables = parts.variables  # before anything is frozen
    state = parts.resume(run_path / "checkpoints")
    description = {
        "status": "running",
        "task": task.to_json(),
        "model": {"name": network.name, "parameters": network.count_params()},
        "records": str(Path(records).resolve()),
        "dataset": info.content["dataset"],
        "dataset_sha256": metadata.sha256_file(metadata.manifest_path(records, "dataset")),
        "image_size": info.image_size,
        "preprocess": info.preprocess,
        "pictures": info.content.get("pictures"),
        "training_examples": examples,
        "epochs": epochs,
        "batch_size": batch_size,
        "seed": seed,
        "initial_weights": origin,
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
            steps[frozen] = build_train_step(
                network, parts.optimizer, loss, where, batch_size, clip_norm, parts.average, xla
            )
        return steps[frozen]

    predict_step = build_predict_step(parts.shown)

    def validation() -> dict[str, Any]:
        parts.show()
        try:
            return validate(predict_step, pipeline.evaluation_batches(records, "val", task, batch_size), task, loss)
        except FloatingPointError as err:
            raise FloatingPointError(f"{err} after step {steps_per_epoch} of epoch {state.epoch}. {DIVERGED}") from err

    step = state.epoch * steps_per_epoch + state.step_in_epoch
    monitor = Monitor(
        run_path if chief else None, step, state.epoch, steps_per_epoch * epochs, batch_size, wandb_project, description
    )

    def batches_of_epoch(shard: tuple[int, int]) -> tf.data.Dataset:
        return pipeline.training_batches(
            records, task, batch_size, seed, state.epoch, state.step_in_epoch, shard=shard
        )

    def save() -> None:
        if not chief:
            return
        at = state.epoch * steps_per_epoch + state.step_in_epoch
        try:
            checkpoints.save(run_path / "checkpoints", at, variables, dataclasses.asdict(state), keep_checkpoints)
        except FloatingPointError as err:
            done = f"{state.epoch} epochs and {state.step_in_epoch} steps"
            raise FloatingPointError(f"{err} after {done}. {DIVERGED}") from err

    def first_images(batch: Any) -> tf.Tensor:
        return strategies.first_local(where, batch["image"])

    def to_train() -> bool:
        return state.epoch < epochs and not is_exhausted(state.epoch, state.best, early_stopping_epochs)

    timer = Timer(checkpoint_minutes)
    try:
        with workers.named_loss(where), stop_requests() as stop:
            while to_train():
                started = time.monotonic()
                batches = strategies.distribute(where, batches_of_epoch)
                if chief:  # only now have the pipeline and the augmentation been configured, too
                    metadata.write_text(run_path / "operative_config.gin", gin.operative_config_str())
                run_epoch(state, epochs, batches, train_step_of(state.epoch), monitor, stop, timer, save, first_images)
                state.seconds += time.monotonic() - started
                if stop:
                    save()
                    raise Interrupted(f"Stopped by signal {stop[0]}. Saved. Run the same command again to go on.")
                finish_epoch(state, steps_per_epoch, monitor, parts.optimizer)
                values = validation()
                monitor.epoch("val", state.epoch * steps_per_epoch, state.epoch, values)
                if is_better(values, state.best, select_by):
                    state.best = {
                        "metric": select_by, "value": values[select_by],
                        "epoch": state.epoch, "step": state.epoch * steps_per_epoch,
                    }  # fmt: skip
                    if chief:
                        _save_model(parts.shown, run_path / "best.keras")
                        run_directory.write_run(run_path, {**description, "best": state.best})
                if state.best["value"] is None and chief:
                    logging.warning("Epoch %d: %s", state.epoch, undefined(select_by, values))
                if state.epoch % checkpoint_epochs == 0 or not to_train():
                    save()
    finally:
        monitor.close()
        run_directory.release(run_path)
    finished = {**description, "status": "finished", "best": state.best, "seconds": round(state.seconds, 1)}
    finished["epochs_run"] = state.epoch
    if chief:
        run_directory.write_run(run_path, finished)
    return finished


def _as_schedule(learning_rate: Any) -> optimizers.Schedule:
    """Returns a schedule factory; of a number, one of that constant rate. Raises ValueError for anything else."""
    if isinstance(learning_rate, int | float) and not isinstance(learning_rate, bool) and learning_rate > 0:
        return optimizers.constant(learning_rate=learning_rate)
    if not callable(learning_rate):
        raise ValueError(
            f"train.learning_rate must be a number above 0, or a schedule. Received: {learning_rate!r}. For example "
            f"train.learning_rate = @schedules.cosine()."
        )
    return learning_rate


def _check_factories(**factories: Any) -> None:
    """Raises ValueError where what makes a part of the run cannot be called: a text, or a finished part."""
    for name, factory in factories.items():
        if not callable(factory) and not (factory is None and name == "loss"):
            raise ValueError(f"train.{name} must be a function, as {FORMS[name]}. Received: {factory!r}.")


def _check_settings(task: Task | LabelTask, **counts: int) -> None:
    """Raises ValueError where a binding is of the wrong kind, which gin itself does not notice."""
    if not isinstance(task, (Task, LabelTask)):
        raise ValueError(f"train.task must be a task. Received: {task!r}. Write it with brackets: @tasks.referable_dr().")
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


def _save_model(model: keras.Model, path: Path) -> None:
    """Writes a Keras model whole: under a temporary name, then renamed."""
    temporary = path.with_name(f".{path.stem}.tmp.keras")
    model.save(temporary)
    temporary.replace(path)
