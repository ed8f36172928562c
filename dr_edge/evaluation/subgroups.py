"""The same numbers for parts of the images: left and right eyes, picture sizes (cameras), quality."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np

from dr_edge.data.tasks import Task
from dr_edge.evaluation.predictions import Predictions
from dr_edge.metrics import classification, multilabel

SMALLEST = 10  # images; a number from fewer says nothing
SIZES = 6  # most frequent picture sizes that get a row of their own
DRAWS = 1000


class Images(Protocol):
    """What tells images apart: those of answers and those of masks have it."""

    @property
    def ids(self) -> np.ndarray: ...
    @property
    def source_size(self) -> np.ndarray: ...
    @property
    def quality(self) -> np.ndarray: ...
    @property
    def laterality(self) -> np.ndarray: ...


def subgroup_metrics(task: Task, predictions: Predictions) -> list[dict[str, Any]]:
    """Computes accuracy and AUC for each subgroup of at least SMALLEST images.

    Returns:
      Rows {kind, name, images, patients, positives (where the task knows them), accuracy, accuracy_interval, auc,
      auc_interval} for classification; mean_f1 and mean_auc with their intervals in place of these for
      multilabel. A kind with
      fewer than two such groups is left out: there is nothing to compare.
    """
    return [_row(task, predictions, kind, name, chosen) for kind, name, chosen in groups(predictions)]


def groups(rows: Images) -> Iterator[tuple[str, str, np.ndarray]]:
    """Yields (kind, name, [N] bool) of each group that is large enough and has another of its kind beside it."""
    for kind, names in _kinds(rows).items():
        large = [name for name in sorted(set(names)) if name and names.count(name) >= SMALLEST]
        if len(large) > 1:
            for name in large:
                yield kind, name, np.asarray(names) == name


def shown_name(kind: str, name: str) -> str:
    """Returns a group's name without the digit that orders the thirds of quality."""
    return name.partition(" ")[2] if kind == "quality" else name


def _kinds(rows: Images) -> dict[str, list[str]]:
    """Returns kind -> the subgroup of each image; "" for none."""
    sizes = [f"{width} × {height} px" for height, width in rows.source_size]
    frequent = {name for name, _ in Counter(sizes).most_common(SIZES)}
    low, high = np.quantile(rows.quality, [1 / 3, 2 / 3])
    if low < high:
        quality = np.where(
            rows.quality <= low,
            "1 lowest third",
            np.where(rows.quality <= high, "2 middle third", "3 best third"),
        )
    else:  # no spread, nothing to divide
        quality = np.full(len(rows.ids), "")
    return {
        "eye": [str(name) for name in rows.laterality],
        "picture size": [name if name in frequent else "other sizes" for name in sizes],
        "quality": [str(name) for name in quality],
    }


def _row(task: Task, predictions: Predictions, kind: str, name: str, chosen: np.ndarray) -> dict[str, Any]:
    labels, probabilities = predictions.labels[chosen], predictions.probabilities[chosen]
    patients = predictions.patients[chosen]
    row: dict[str, Any] = {"kind": kind, "name": shown_name(kind, name)}
    if task.kind == "multilabel":
        full = multilabel.multilabel_metrics(labels, probabilities, task.class_names, patients, draws=0)
        means = {key: full[key] for key in ("images", "patients", "mean_f1", "mean_auc")}
        return row | means | multilabel.mean_intervals(labels, probabilities, patients, DRAWS)
    full = classification.classification_metrics(
        labels, probabilities, task.class_names, task.ordered, patients, DRAWS, task.positive
    )
    wanted = ("images", "patients", "accuracy", "accuracy_interval", "auc", "auc_interval")
    positives = {"positives": int(task.is_positive(labels).sum())} if task.positive else {}
    return row | positives | {key: full[key] for key in wanted}
