"""Quantisation-aware fine-tuning of a finished run, by its own data, augmentation and loss."""

from __future__ import annotations

import copy
import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import gin
import numpy as np
from absl import logging

from dr_edge import gin_imports
from dr_edge.calibration import fit as fit_lib
from dr_edge.calibration.fit import Fit
from dr_edge.data import augment, pipeline  # noqa: F401  (augment: gin names)
from dr_edge.data.records_info import read_info
from dr_edge.framework import keras, ops
from dr_edge.fundus.in_graph import prepare
from dr_edge.losses import classification, multilabel, segmentation  # noqa: F401  (the last two: gin names)
from dr_edge.progress import Progress
from dr_edge.runs import TrainedRun
from dr_edge.training import loop  # noqa: F401  (gin names)
from export.graph import frozen
from export.graph.deployable import PHONE_INT8, app_outputs, image_side, wanted_tensors
from export.graph.heads import LinearHead

RUN_CONFIGURATION = "config.gin"


@gin.configurable("qat", module="export")
@dataclasses.dataclass(frozen=True)
class QatSettings:
    """How to fine-tune; each field can be bound by gin, for example `export.qat.epochs = 5`.

    Attributes:
      epochs: passes over the training split; the best by validation loss is kept, 0 included.
      learning_rate: at the start; it falls along a cosine.
      batch_size: examples per step.
      range_images: training images on which the first ranges of the activations are measured.
      seed: of order and augmentation.
    """

    epochs: int = 2
    learning_rate: float = 1e-5
    batch_size: int = 16
    range_images: int = 64
    seed: int = 1


def check_installed() -> None:
    """Imports the packages of the extra `qat`; RuntimeError with the install command where they are missing."""
    import export.qat.tfmot  # noqa: F401


def save_finetuned(
    run: TrainedRun,
    fit: Fit,
    records: str | os.PathLike,
    directory: str | os.PathLike,
    settings: QatSettings | None = None,
) -> dict[str, Any]:
    """Fine-tunes a run with int8 rounding and writes the deployable graph around the result.

    Args:
      run: the finished run.
      fit: what was fitted to it; where it has feature statistics, they are fitted anew.
      records: the records directory.
      directory: where to write the SavedModel for `tflite.convert_qat_int8`.
      settings: None for those that gin binds.

    Returns:
      What was done, for parity.json: settings, steps and the validation loss before and after each epoch.

    Raises:
      FormatNotMadeError: the network has a layer without 8-bit twin.
      FloatingPointError: the loss is not finite.
    """
    settings = settings or QatSettings()
    from export.qat import training, twin

    wanted = wanted_tensors(run.model, run.task.kind, fit.features is not None)
    loss = _configured_loss(run)
    images = _images(run, records, settings.range_images)
    head = wanted.layers if run.task.kind != "segmentation" else ("logits",)
    network = twin.quantised_twin(wanted.network, images, head)
    examples = pipeline.example_count(read_info(records), "train", run.task)
    batch_size = min(settings.batch_size, examples)
    steps = examples // batch_size

    def batches(epoch: int) -> Iterator[Mapping[str, Any]]:
        return iter(pipeline.training_batches(records, run.task, batch_size, settings.seed, epoch))

    with Progress(total=settings.epochs * steps, desc="quantisation-aware training", unit="step", leave=False) as bar:
        values = training.fine_tune(
            network,
            batches,
            loss,
            lambda model: _validation_loss(model, run, records, loss),
            epochs=settings.epochs,
            steps_per_epoch=steps,
            learning_rate=settings.learning_rate,
            batch_size=batch_size,
            progress=bar.update,
        )
    kept = max(epoch for epoch, value in enumerate(values) if value == min(values))  # 0: as it was before fine-tuning
    own = fit_twin(run, network, wanted.names, records)
    tuned = dataclasses.replace(wanted, head=_head_of(network, wanted.head))
    side = image_side(run.model)

    def deployable(image: Any) -> dict[str, Any]:
        prepared = prepare(ops.cast(image, "float32"), run.preprocess)
        tensors = dict(zip(wanted.names, keras.tree.flatten(network(prepared, training=False)), strict=True))
        return app_outputs(tensors, tuned, run.task.kind, own.temperature, own.features, PHONE_INT8)

    frozen.save(deployable, (1, side, side, 3), directory)
    report = {
        "steps": settings.epochs * steps,
        "validation_loss": values,
        "kept_epoch": kept,
        "temperature": own.temperature,
        "ood": own.ood,
        "operating_points": own.operating_points,
    }
    return {**dataclasses.asdict(settings), **report}


def _head_of(twin: Any, head: LinearHead | None) -> LinearHead | None:
    """Returns the head with the kernels of the fine-tuned network, of which its heat map is made."""
    if head is None:
        return None
    kernels = tuple(np.asarray(twin.get_layer(name).kernel, np.float32) for name in (*head.gates, "logits"))
    return dataclasses.replace(head, kernels=kernels)


def fit_twin(run: TrainedRun, twin: Any, names: Sequence[str], records: str | os.PathLike) -> Fit:
    """Fits temperature and feature statistics of the fine-tuned network, whose features have moved."""
    from dr_edge.framework import tf

    forward = tf.function(lambda images: twin(images, training=False), reduce_retracing=True)

    def predict(images: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        values = dict(zip(names, forward(tf.constant(images)), strict=True))
        return values["logits"].numpy(), values["penultimate"].numpy() if "penultimate" in values else None

    return fit_lib.fit(run, records, predict=predict)


def _configured_loss(run: TrainedRun) -> Callable[[Any, Any], Any]:
    """Binds the run's data settings (augmentation, balance) and returns its loss."""
    path = Path(run.directory) / RUN_CONFIGURATION
    chosen = None
    if path.is_file():
        with gin.unlock_config(), gin_imports.checked():
            # Models and whatever else fine-tuning does not build are skipped; training has checked the names.
            gin.parse_config(path.read_text(encoding="utf-8"), skip_unknown=True)
        # Copying resolves the reference to the loss, and only that one; models are not needed here.
        chosen = copy.deepcopy(gin.get_bindings("train", resolve_references=False).get("loss"))
    else:
        logging.warning("%s holds no %s: fine-tuning without augmentation.", run.directory, RUN_CONFIGURATION)
    if chosen is not None:
        return chosen
    return (
        classification.cross_entropy() if run.task.kind == "classification" else classification.binary_cross_entropy()
    )


def _images(run: TrainedRun, records: str | os.PathLike, count: int) -> np.ndarray:
    batches = pipeline.evaluation_batches(records, "train", run.task, count)
    return next(iter(batches))["image"].numpy()


def _validation_loss(model: Any, run: TrainedRun, records: str | os.PathLike, loss: Callable[[Any, Any], Any]) -> float:
    from dr_edge.framework import tf

    forward = tf.function(lambda images: keras.tree.flatten(model(images, training=False))[0], reduce_retracing=True)
    values = []
    for batch in pipeline.evaluation_batches(records, "val", run.task, 16):
        values.append(loss(batch["label"], forward(batch["image"])).numpy())
    return float(np.mean(np.concatenate(values)))
