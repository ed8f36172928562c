"""The photographs that export reads: of training, for calibration, and of the split that artifacts are judged on."""

from __future__ import annotations

import itertools
import os
from collections.abc import Collection, Iterator

import numpy as np

from dr_edge.calibration.fit import class_count, examples
from dr_edge.data import pipeline
from dr_edge.data.tasks import Task


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


class StoredPhotographs:
    """The photographs of a split, in the order of its shards, read anew at each pass.

    They are not kept: the full EyePACS test split would take 42 GB at 512 px.
    """

    def __init__(self, records: str | os.PathLike, split: str, task: Task, count: int) -> None:
        """Args: the records directory, its split, the task that chooses the images, and how many it chooses."""
        self._records, self._split, self._task, self._count = records, split, task, count

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[np.ndarray]:
        """Gives each photograph, [1, S, S, 3] uint8."""
        for batch in pipeline.evaluation_batches(self._records, self._split, self._task, 1, photograph=True):
            yield batch["photograph"].numpy()

    def at(self, rows: Collection[int]) -> dict[int, np.ndarray]:
        """Returns the photographs of these rows (0 is the first), in one pass up to the last of them."""
        last = max(rows, default=-1)
        return {row: photograph for row, photograph in enumerate(itertools.islice(self, last + 1)) if row in rows}
