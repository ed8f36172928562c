"""What is measured on masks: overlap, and the vertical cup-to-disc ratio (vCDR)."""

from __future__ import annotations

import numpy as np

from dr_edge.data.tasks import Task
from dr_edge.metrics.glaucoma import vcdr

DISC, CUP, FOVEA, GLAUCOMA = "optic_disc", "optic_cup", "fovea", "glaucoma"


def overlap(truth: np.ndarray, found: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Computes the Dice coefficient and the intersection over union of each mask.

    Args:
      truth: [B, S, S, M] of 0 and 1; -1 everywhere where an image has no such mask.
      found: [B, S, S, M] bool.

    Returns:
      Dice and IoU, each [B, M] float64; NaN where the true mask is missing or both are empty.
    """
    known = (truth >= 0).all(axis=(1, 2))
    labelled = truth > 0.5
    both = (labelled & found).sum(axis=(1, 2)).astype(np.float64)
    sizes = labelled.sum(axis=(1, 2)) + found.sum(axis=(1, 2))
    usable = known & (sizes > 0)
    blank = np.full(both.shape, np.nan)
    dice = np.divide(2 * both, sizes, out=blank.copy(), where=usable)
    return dice, np.divide(both, sizes - both, out=blank, where=usable)


def ratios(task: Task, masks: np.ndarray) -> np.ndarray | None:
    """Returns the vertical cup-to-disc ratio of [N, S, S, M] bool masks: [N] float64, NaN where disc or cup is empty;
    None for a task without them.
    """
    if not {DISC, CUP} <= set(task.masks):
        return None
    disc, cup = task.masks.index(DISC), task.masks.index(CUP)
    return np.array([vcdr(mask[..., disc], mask[..., cup]) for mask in masks], np.float64)
