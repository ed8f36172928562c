"""The same numbers for parts of the images: left and right eyes, picture sizes (cameras), quality."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from dr_edge import metrics
from dr_edge.data.tasks import Task
from dr_edge.evaluation.predictions import Predictions

SMALLEST = 10  # images; a number from fewer says nothing
SIZES = 6  # most frequent picture sizes that get a row of their own
DRAWS = 1000


def subgroup_metrics(task: Task, predictions: Predictions) -> list[dict[str, Any]]:
    """Computes accuracy and AUC for each subgroup of at least SMALLEST images.

    Returns:
      Rows {kind, name, images, patients, positives (two classes), accuracy, accuracy_interval, auc,
      auc_interval} for classification; mean_f1 and mean_auc in place of these for multilabel. A kind with
      fewer than two such groups is
      left out: there is nothing to compare.
    """
    rows: list[dict[str, Any]] = []
    for kind, names in _kinds(predictions).items():
        part = [
            _row(task, predictions, kind, name, np.asarray(names) == name)
            for name in dict.fromkeys(sorted(names))
            if name and names.count(name) >= SMALLEST
        ]
        rows += part if len(part) > 1 else []
    return rows


def _kinds(predictions: Predictions) -> dict[str, list[str]]:
    """Returns kind -> the subgroup of each image; "" for none."""
    sizes = [f"{width} × {height} px" for height, width in predictions.source_size]
    frequent = {name for name, _ in Counter(sizes).most_common(SIZES)}
    low, high = np.quantile(predictions.quality, [1 / 3, 2 / 3])
    if low < high:
        quality = np.where(
            predictions.quality <= low,
            "1 lowest third",
            np.where(predictions.quality <= high, "2 middle third", "3 best third"),
        )
    else:  # no spread, nothing to divide
        quality = np.full(len(predictions), "")
    return {
        "eye": [str(name) for name in predictions.laterality],
        "picture size": [name if name in frequent else "other sizes" for name in sizes],
        "quality": [str(name) for name in quality],
    }


def _row(task: Task, predictions: Predictions, kind: str, name: str, chosen: np.ndarray) -> dict[str, Any]:
    labels, probabilities = predictions.labels[chosen], predictions.probabilities[chosen]
    patients = predictions.patients[chosen]
    row: dict[str, Any] = {
        "kind": kind,
        "name": name.removeprefix("1 ").removeprefix("2 ").removeprefix("3 ") if kind == "quality" else name,
    }
    if task.kind == "multilabel":
        full = metrics.multilabel_metrics(labels, probabilities, task.class_names, patients, draws=0)
        return row | {key: full[key] for key in ("images", "patients", "mean_f1", "mean_auc")}
    full = metrics.classification_metrics(
        labels, probabilities, task.class_names, task.ordered, patients, DRAWS
    )
    wanted = ("images", "patients", "accuracy", "accuracy_interval", "auc", "auc_interval")
    positives = {"positives": int((labels == 1).sum())} if len(task.class_names) == 2 else {}
    return row | positives | {key: full[key] for key in wanted}
