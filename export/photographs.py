"""The training photographs on which integer formats are calibrated."""

from __future__ import annotations

import itertools
import os

import numpy as np

from dr_edge.data.tasks import Task
from dr_edge.fitting import class_count, examples


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
    share = -(-count // class_count(task))
    for example in examples(records, "train", task, share, "calibration photographs (train)"):
        kept.setdefault(example["class"], []).append(example["photograph"][None])
    # One of each class in turn, so that what is cut off at the end, and what reads the first few, holds all classes.
    in_turn = itertools.chain.from_iterable(itertools.zip_longest(*kept.values()))
    return [photograph for photograph in in_turn if photograph is not None][:count]
