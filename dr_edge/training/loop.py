"""The training loop: one gin-configured function for every task, model and set of devices.

The loop holds no state of its own: all that a run is stands in its variables (model, optimizer) and in a small State
that is saved with them. Order and augmentation are functions of (seed, epoch), so an interrupted run that is started
again by the same command ends with the weights of the uninterrupted one.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gin
from absl import logging

from dr_edge import metadata
from dr_edge.data.tasks import LabelTask, Task
from dr_edge.framework import keras, tf
from dr_edge.losses import classification as classification_losses
from dr_edge.training import optimizers, run_directory, strategies, workers
from dr_edge.training.epoch import Timer, finish_epoch, run_epoch, stop_requests
from dr_edge.training.preflight import Settings, check_records
from dr_edge.training.trainer import Trainer


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
    loss: classification_losses.Loss | None = None,
    consistency: float = 0.0,
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
      consistency: how much the divergence of the answers to two augmented views of each image counts beside the loss;
        0: one view, no divergence. It doubles the work of a step.
      strategy: where to run, for example @strategies.mirrored.
      select_by: validation metric that chooses `best.keras`: higher is better, except for "loss".
      checkpoint_epochs: epochs between checkpoints.
      checkpoint_minutes: also save, between two steps, after so many minutes; None: only after epochs.
      keep_checkpoints: how many to keep.
      early_stopping_epochs: stop after so many epochs without a better `select_by`; None: never.
      frozen_backbone_epochs: train only the head for so many epochs, with a pretrained backbone.
      freeze_batch_norm: keep the backbone's batch normalisation as it is, also after that.
      initial_weights: run directory of a finished run of the same network, from whose best model to start (a second
        stage).
      clip_norm: largest norm of a step's gradient with respect to all weights together; None: any.
      ema_decay: validate and save the moving average of the weights with this decay, for example 0.999; None: the
        weights.
      precision: "float32", "bfloat16" or "float16" (with loss scaling): of the arithmetic in training. Weights,
        validation and `best.keras` are float32.
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
    settings = Settings(
        records=records, run_dir=run_dir, task=task, model=model, epochs=epochs, batch_size=batch_size,
        learning_rate=learning_rate, optimizer=optimizer, loss=loss, consistency=consistency, strategy=strategy,
        select_by=select_by, checkpoint_epochs=checkpoint_epochs, checkpoint_minutes=checkpoint_minutes,
        keep_checkpoints=keep_checkpoints, early_stopping_epochs=early_stopping_epochs,
        frozen_backbone_epochs=frozen_backbone_epochs, freeze_batch_norm=freeze_batch_norm,
        initial_weights=initial_weights, clip_norm=clip_norm, ema_decay=ema_decay, precision=precision, xla=xla,
        wandb_project=wandb_project, seed=seed,
    )  # fmt: skip
    settings.check()
    where = strategy()  # first: several machines must be joined before TensorFlow does anything
    settings.check_devices(where)
    chief = strategies.worker(where)[0] == 0
    examples = check_records(settings, chief)
    run_path = Path(run_dir)
    if chief and run_directory.claim(run_path, records) == "finished" or run_directory.is_finished(run_path):
        logging.info("%s is finished already; nothing to do.", run_path)
        return metadata.read_manifest(run_path, "run")
    try:
        run = Trainer(settings, examples, where, chief)
        state, timer = run.state, Timer(checkpoint_minutes)
        with contextlib.closing(run.monitor), workers.named_loss(where), stop_requests() as stop:
            while run.to_train():
                started = time.monotonic()
                batches = run.batches()
                run_epoch(
                    state, epochs, batches, run.train_step(), run.monitor, stop, timer, run.save, run.first_images
                )
                state.seconds += time.monotonic() - started
                if stop:
                    run.save()
                    raise Interrupted(f"Stopped by signal {stop[0]}. Saved. Run the same command again to go on.")
                finish_epoch(state, run.steps_per_epoch, run.monitor, run.parts.optimizer)
                run.keep_if_best(run.validate())
                if state.epoch % checkpoint_epochs == 0 or not run.to_train():
                    run.save()
        return run.finish()
    finally:
        run_directory.release(run_path)
