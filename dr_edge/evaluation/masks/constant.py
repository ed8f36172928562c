"""The same answer for every photograph: what a segmentation must do better than.

It is chosen on the validation photographs of the records that the run was trained on, as thresholds are: the judged
ones decide nothing, and no model is called worse than an answer that nobody could have given beforehand. The mask is
the mean of the labelled ones, cut where it overlaps them best; the cup-to-disc ratio is their median, which is off by
least. Where these records are gone, or label a structure on too few photographs to choose well, it is chosen on the
judged photographs themselves. That asks more of a model: what beats it beats every other constant.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence

import numpy as np

from dr_edge.data.tasks import Task
from dr_edge.evaluation.masks.measures import ratios
from dr_edge.progress import Progress

LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5)  # of the mean mask; where structures move about, no pixel is inside in half of them
BATCH_SIZE = 16
FEWEST = 8  # photographs to choose on; the mean of fewer is a poor answer, and doing better than that says little


@dataclasses.dataclass(frozen=True)
class Constant:
    """One answer for all photographs; None stands for the one that fits the judged photographs best.

    Attributes:
      masks: of each of M masks [P] bool, of the P pixels of a crop, or None.
      ratio: the cup-to-disc ratio, or None; also for a task without one.
    """

    masks: Sequence[np.ndarray | None]
    ratio: float | None


class LabelledMasks:
    """Collects labelled masks, a bit per pixel: 400 photographs of 512 px and two structures are 26 MB."""

    def __init__(self) -> None:
        self._packed: list[list[np.ndarray | None]] = []  # per photograph and mask; None where it has no such mask
        self._pixels = 0

    def add(self, truth: np.ndarray) -> None:
        """Adds [B, S, S, M] of 0 and 1; -1 everywhere where a photograph has no such mask."""
        self._pixels = truth.shape[1] * truth.shape[2]
        for masks in truth:
            rows = np.moveaxis(masks, -1, 0).reshape(masks.shape[-1], -1)
            self._packed.append([None if row.min() < 0 else np.packbits(row > 0.5) for row in rows])

    def best(self, fewest: int = 1) -> list[np.ndarray | None]:
        """Returns of each mask the cut of the mean that overlaps the labelled ones best, [P] bool; None where fewer
        than `fewest` photographs have one that is not empty.
        """
        return [self._best(index, fewest) for index in range(len(self._packed[0]))]

    def _best(self, index: int, fewest: int) -> np.ndarray | None:
        known = [place for place, row in enumerate(self._packed) if row[index] is not None]
        mean = np.zeros(self._pixels)
        for place in known:
            mean += self._mask(place, index)
        mean /= max(len(known), 1)
        cuts = np.stack([mean >= level for level in LEVELS])
        found = self._overlaps(cuts, index)
        filled = np.isfinite(found[0])
        return cuts[int(np.argmax(found[:, filled].mean(axis=1)))] if filled.sum() >= fewest else None

    def dice(self, constant: Sequence[np.ndarray | None] | None = None) -> np.ndarray:
        """Returns the Dice coefficient of constant masks with each labelled one, [N, M] float64.

        Args:
          constant: from `best`, of the same or other photographs; None, of one mask or all, for the best of these.

        Returns:
          NaN where a photograph has no such mask or an empty one.
        """
        chosen = (
            self.best()
            if constant is None
            else [self._best(index, 1) if mask is None else mask for index, mask in enumerate(constant)]
        )
        blank = np.full(len(self._packed), np.nan)
        columns = [blank if mask is None else self._overlaps(mask[None], index)[0] for index, mask in enumerate(chosen)]
        return np.stack(columns, axis=1)

    def _overlaps(self, constants: np.ndarray, index: int) -> np.ndarray:
        """Returns the Dice coefficient of each of [L, P] constants with each photograph's mask, [L, N]."""
        constants = constants.astype(np.float32)
        found = np.full((len(constants), len(self._packed)), np.nan)
        for place, row in enumerate(self._packed):
            if row[index] is not None and (truth := self._mask(place, index)).any():
                found[:, place] = 2 * (constants @ truth) / (constants.sum(axis=1) + truth.sum())
        return found

    def _mask(self, place: int, index: int) -> np.ndarray:
        packed = self._packed[place][index]
        if packed is None:
            raise ValueError("A photograph without this mask has no pixels of it.")
        return np.unpackbits(packed, count=self._pixels).astype(np.float32)


def of_validation(records: str | os.PathLike | None, task: Task) -> Constant | None:
    """Chooses the constant answer on the validation split.

    Args:
      records: those that the run was trained on; None where they are gone.
      task: a segmentation.

    Returns:
      None where there is no validation split, or no photograph of it has the task's masks.
    """
    # These import TensorFlow, which `evaluate compare` does without.
    from dr_edge.calibration import store
    from dr_edge.data import pipeline

    if records is None or not store.has_split(records, "val"):
        return None
    labelled, found = LabelledMasks(), []
    batches = pipeline.evaluation_batches(records, "val", task, BATCH_SIZE)
    for batch in Progress(batches, desc="a constant answer (val)", unit="batch", leave=False):
        truth = batch["label"].numpy()[..., : len(task.masks)]
        labelled.add(truth)
        each = ratios(task, truth > 0.5)
        found.append(np.full(len(truth), np.nan) if each is None else each)
    if not found:
        return None
    known = np.concatenate(found)
    known = known[np.isfinite(known)]
    return Constant(labelled.best(FEWEST), float(np.median(known)) if known.size >= FEWEST else None)
