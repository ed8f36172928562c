"""A run that is ready to train: what is built once, and what the loop asks of it in every epoch."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gin
from absl import logging

from dr_edge import metadata
from dr_edge.data import pipeline
from dr_edge.framework import keras, tf
from dr_edge.losses import classification as classification_losses
from dr_edge.losses.consistency import consistency
from dr_edge.training import best_model, checkpoints, initial, networks, run_directory, strategies
from dr_edge.training.epoch import DIVERGED, State
from dr_edge.training.freezing import freeze
from dr_edge.training.monitor import Monitor
from dr_edge.training.preflight import Examples, Settings, as_schedule
from dr_edge.training.selection import is_better, is_exhausted, undefined
from dr_edge.training.step import build_predict_step, build_train_step
from dr_edge.training.validation import validate


class Trainer:
    """Network, optimizer, place and reports of a run.

    Attributes:
      parts: the variables of the run.
      state: its place; the loop moves it on.
      steps_per_epoch: of all devices together.
      monitor: its reports; to be closed.
    """

    def __init__(self, settings: Settings, examples: Examples, where: tf.distribute.Strategy, chief: bool) -> None:
        """Builds the run under `where`, or takes it up at its newest checkpoint, and writes its run.json.

        Args:
          settings: checked.
          examples: as `preflight.check_records` gives them.
          where: the devices.
          chief: this worker writes the run directory; the others only read it.

        Raises:
          ValueError: a checkpoint or initial weights of another network.
        """
        self._settings, self._where, self._chief = settings, where, chief
        self._run_path, self._task = Path(settings.run_dir), examples.task
        if self._task.kind == "classification":
            logging.info("%s.", self._task.disease)
        usual = (
            classification_losses.cross_entropy
            if self._task.kind == "classification"
            else classification_losses.binary_cross_entropy
        )
        self._loss = settings.loss or usual()
        self.steps_per_epoch = examples.count // settings.batch_size
        keras.utils.set_random_seed(settings.seed)
        schedule = as_schedule(settings.learning_rate)
        self.parts = networks.build(
            where, lambda: settings.model(examples.info.image_size, len(self._task.class_names)), settings.optimizer,
            lambda: schedule(self.steps_per_epoch, settings.epochs), settings.ema_decay, settings.precision,
        )  # fmt: skip
        origin = None
        if settings.initial_weights is not None:
            origin = initial.load(self.parts.network, settings.initial_weights)
        self._variables = self.parts.variables  # before anything is frozen
        self._description = describe(settings, examples, self.parts.network, origin)
        self.state = self._resumed()
        if chief:
            run_directory.write_run(self._run_path, {**self._description, "best": self.state.best})
        self._steps: dict[bool, Callable[..., tf.Tensor]] = {}
        self._predict_step = build_predict_step(self.parts.shown)
        self.monitor = Monitor(
            self._run_path if chief else None, self._step(), self.state.epoch, self.steps_per_epoch * settings.epochs,
            settings.batch_size, settings.wandb_project, self._description,
        )  # fmt: skip

    def _resumed(self) -> State:
        """Takes the run up at its newest checkpoint that reads; returns where it stands, the same for every worker.

        Raises:
          ValueError: a checkpoint of another network, a best model that is lost, or workers that see another one.
        """
        state = self.parts.resume(self._run_path / checkpoints.DIRECTORY, self._chief)
        state.best = best_model.recover(self._run_path, state.best, lambda: self._rebuilt(state.best))
        place = f"epoch {state.epoch}, step {state.step_in_epoch}, best epoch {state.best.get('epoch')}"
        strategies.check_same(self._where, place, self._run_path)
        return state

    def _rebuilt(self, best: dict[str, Any]) -> dict[str, Any] | None:
        """Writes best.keras anew from a checkpoint of the epoch that gave it; see `best_model.recover`."""
        directory = self._run_path / checkpoints.DIRECTORY
        path = checkpoints.at_epoch(directory, best["epoch"])
        if path is None or not self._chief:
            return None if path is None else best
        checkpoints.restore(path, self.parts.variables)
        self.parts.show()
        written = best_model.write(self._run_path, self.parts.shown, best, {**self._description, "best": best})
        checkpoints.restore_newest(directory, self.parts.variables, own=True)
        return written

    def _step(self) -> int:
        """Returns how many steps the run has made."""
        return self.state.epoch * self.steps_per_epoch + self.state.step_in_epoch

    def to_train(self) -> bool:
        """Says whether another epoch is to be trained."""
        state, settings = self.state, self._settings
        return state.epoch < settings.epochs and not is_exhausted(
            state.epoch, state.best, settings.early_stopping_epochs
        )

    def batches(self) -> Any:
        """Returns what is left of the epoch at which the run stands, as an iterable of distributed batches."""
        settings, state = self._settings, self.state

        def of_worker(shard: tuple[int, int]) -> tf.data.Dataset:
            return pipeline.training_batches(
                settings.records, self._task, settings.batch_size, settings.seed, state.epoch, state.step_in_epoch,
                shard=shard, views=2 if settings.consistency else 1,
            )  # fmt: skip

        found = strategies.distribute(self._where, of_worker)
        if self._chief:  # only now have the pipeline and the augmentation been configured, too
            metadata.write_text(self._run_path / run_directory.OPERATIVE_FILE, gin.operative_config_str())
        return found

    def first_images(self, batch: Any) -> tf.Tensor:
        """Returns the images of a distributed batch that the first device of this machine holds."""
        return strategies.first_local(self._where, batch["image"])

    def train_step(self) -> Callable[..., tf.Tensor]:
        """Returns the step of the stage at which the run stands; each stage trains other variables."""
        settings = self._settings
        frozen = self.state.epoch < settings.frozen_backbone_epochs
        if frozen not in self._steps:
            freeze(self.parts.network, frozen, settings.freeze_batch_norm)
            self._steps[frozen] = build_train_step(
                self.parts.network, self.parts.optimizer, self._loss, self._where, settings.batch_size,
                settings.clip_norm, self.parts.average, settings.xla,
                consistency(self._task.kind, settings.consistency) if settings.consistency else None,
            )  # fmt: skip
        return self._steps[frozen]

    def validate(self) -> dict[str, Any]:
        """Validates the network that is shown, after a full epoch, and reports the numbers that it returns.

        Raises:
          FloatingPointError: its outputs are not finite.
        """
        self.parts.show()
        settings, epoch = self._settings, self.state.epoch
        batches = pipeline.evaluation_batches(settings.records, "val", self._task, settings.batch_size)
        try:
            values = validate(self._predict_step, batches, self._task, self._loss)
        except FloatingPointError as err:
            raise FloatingPointError(f"{err} after step {self.steps_per_epoch} of epoch {epoch}. {DIVERGED}") from err
        self.monitor.epoch("val", self._step(), epoch, values)
        return values

    def keep_if_best(self, values: dict[str, Any]) -> None:
        """Writes the network that is shown to best.keras where its validation `values` are the best so far."""
        state, select_by = self.state, self._settings.select_by
        if is_better(values, state.best, select_by):
            best = {"metric": select_by, "value": values[select_by], "epoch": state.epoch, "step": self._step()}
            if self._chief:
                before = {**self._description, "best": state.best}
                best = best_model.write(self._run_path, self.parts.shown, best, before)
            state.best = best
        if state.best["value"] is None and self._chief:
            logging.warning("Epoch %d: %s", state.epoch, undefined(select_by, values))

    def save(self) -> None:
        """Writes a checkpoint of the place at which the run stands.

        Raises:
          FloatingPointError: a weight is not finite.
        """
        if not self._chief:
            return
        directory, state = self._run_path / checkpoints.DIRECTORY, self.state
        try:
            checkpoints.save(
                directory, self._step(), self._variables, dataclasses.asdict(state), self._settings.keep_checkpoints
            )
        except FloatingPointError as err:
            done = f"{state.epoch} epochs and {state.step_in_epoch} steps"
            raise FloatingPointError(f"{err} after {done}. {DIVERGED}") from err

    def finish(self) -> dict[str, Any]:
        """Writes the run.json of a finished run and returns its content."""
        state = self.state
        finished = {**self._description, "status": "finished", "best": state.best, "seconds": round(state.seconds, 1)}
        finished["epochs_run"] = state.epoch
        if self._chief:
            run_directory.write_run(self._run_path, finished)
        return finished


def describe(
    settings: Settings, examples: Examples, network: keras.Model, origin: dict[str, Any] | None
) -> dict[str, Any]:
    """Returns the content of run.json while the run lives, all but "best".

    Args:
      settings, examples: of the run.
      network: what is trained.
      origin: what `initial.load` loaded; None: nothing.
    """
    info = examples.info
    return {
        "status": "running",
        "task": examples.task.to_json(),
        "model": {"name": network.name, "parameters": network.count_params()},
        "records": str(Path(settings.records).resolve()),
        "dataset": info.content["dataset"],
        "dataset_sha256": metadata.sha256_file(metadata.manifest_path(settings.records, "dataset")),
        "image_size": info.image_size,
        "preprocess": info.preprocess,
        "pictures": info.content.get("pictures"),
        "training_examples": examples.count,
        "epochs": settings.epochs,
        "batch_size": settings.batch_size,
        "seed": settings.seed,
        "initial_weights": origin,
    }
