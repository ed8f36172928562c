"""Validation inside training: logits of a split and the numbers that choose the best epoch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from dr_edge.data.tasks import Task
from dr_edge.framework import tf
from dr_edge.losses.classification import Loss
from dr_edge.metrics import classification as metrics_lib
from dr_edge.metrics import multilabel as multilabel_metrics


def validate(
    predict_step: Callable[[tf.Tensor], tf.Tensor], batches: tf.data.Dataset, task: Task, loss: Loss
) -> dict[str, Any]:
    """Computes the loss and the metrics of a split.

    Args:
      predict_step: images -> logits.
      batches: as `pipeline.evaluation_batches` gives them.
      task: decides the metrics.
      loss: the training loss.

    Raises:
      FloatingPointError: outputs that are not finite; says of how many images.

    Returns:
      "loss" and, by task: "accuracy", "balanced_accuracy", "auc", "qwk", "macro_f1" and "confusion"; "mean_f1",
      "mean_auc" (multilabel); "dice" and "dice/<class>" (segmentation; "dice" is the mean over the classes
      where it is defined). None where undefined.
    """
    losses: list[np.ndarray] = []
    labels: list[np.ndarray] = []
    scores: list[np.ndarray] = []
    images = broken = 0
    for batch in batches:
        logits = predict_step(batch["image"])
        losses.append(loss(batch["label"], logits).numpy())
        outputs = logits.numpy()
        images += len(outputs)
        broken += int((~np.isfinite(outputs.reshape(len(outputs), -1)).all(axis=1)).sum())
        if broken:
            continue
        label = batch["label"].numpy()
        score = task.probabilities(outputs)
        if task.kind == "segmentation":
            # Whole masks are not kept: intersection and sizes per image are all that Dice needs.
            label, score = _overlaps(label, score)
        labels.append(label)
        scores.append(score)
    if broken:
        raise FloatingPointError(f"The outputs of {broken} of {images} validation images are not finite")
    result: dict[str, Any] = {"loss": float(np.concatenate(losses).mean())}
    label, score = np.concatenate(labels), np.concatenate(scores)
    if task.kind == "classification":
        full = metrics_lib.classification_metrics(
            label, score, task.class_names, task.ordered, draws=0, positive=task.positive
        )
        wanted = ("accuracy", "balanced_accuracy", "auc", "qwk", "macro_f1", "confusion")
        return result | {key: full[key] for key in wanted}
    if task.kind == "multilabel":
        full = multilabel_metrics.multilabel_metrics(label.astype(np.int64), score, task.class_names, draws=0)
        return result | {key: full[key] for key in ("mean_f1", "mean_auc")}
    per_class = [_mean_of_known(column) for column in label.T]
    dice = {f"dice/{name}": value for name, value in zip(task.class_names, per_class, strict=True)}
    known = [value for value in per_class if value is not None]
    return result | {"dice": float(np.mean(known)) if known else None} | dice


def _mean_of_known(values: np.ndarray) -> float | None:
    """Returns the mean of those values that are not NaN; None where all are."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else None


def _overlaps(label: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns Dice per image and class ([B, M], NaN where both masks are empty or the true one is missing), twice."""
    truth, found = label > 0.5, score > 0.5
    axes = (1, 2)
    size = truth.sum(axes) + found.sum(axes)
    known = (label >= 0).all(axes) & (size > 0)
    dice = np.where(known, 2.0 * (truth & found).sum(axes) / np.maximum(size, 1), np.nan)
    return dice, dice
