"""The training photographs on which integer formats are calibrated."""

from __future__ import annotations

import os

import numpy as np

from dr_edge.data.tasks import Task
from dr_edge.fitting import examples


def training_photographs(records: str | os.PathLike, task: Task, count: int) -> list[np.ndarray]:
    """Reads training photographs, the same number of each class as far as they go.

    Args:
      records: the records directory.
      task: its classes are balanced.
      count: how many.

    Returns:
      Up to `count` arrays [1, S, S, 3] uint8, the crops before normalisation.
    """
    kept: dict[int, list[np.ndarray]] = {}
    share = -(-count // (1 if task.kind == "segmentation" else len(task.class_names)))
    for example in examples(records, "train", task, share, "calibration photographs (train)"):
        kept.setdefault(example["class"], []).append(example["photograph"][None])
    photographs = [photograph for of_class in kept.values() for photograph in of_class]
    return photographs[:count]
