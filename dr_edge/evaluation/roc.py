"""ROC curves with a pointwise bootstrap band."""

from __future__ import annotations

import numpy as np

from dr_edge.drawing.svg_charts import Curve
from dr_edge.metrics import bootstrap

BAND_DRAWS = 500
STEPS = 1000  # of a drawn curve in each direction
GRID = np.linspace(0.0, 1.0, 101)


def curve(name: str, positive: np.ndarray, scores: np.ndarray) -> Curve | None:
    """Returns the ROC curve of `positive` [N] bool by `scores` [N], for drawing; None where a class is absent."""
    if np.unique(positive).size < 2:
        return None
    from sklearn.metrics import roc_curve

    false_rate, true_rate, _ = roc_curve(positive, scores)
    # Of a million images 140,000 points would be drawn; the first of each step of the grid are as good to the eye.
    steps = np.stack([np.floor(false_rate * STEPS), np.floor(true_rate * STEPS)])
    kept = np.append((np.diff(steps, prepend=-1) != 0).any(axis=0)[:-1], True)
    return Curve(name, false_rate[kept], true_rate[kept])


def band(
    positive: np.ndarray, scores: np.ndarray, groups: np.ndarray, draws: int = BAND_DRAWS
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Returns where the middle of bootstrap ROC curves runs (`bootstrap.LEVEL`), by patient.

    Args:
      positive: [N] bool.
      scores: [N].
      groups: [N] patient.
      draws: bootstrap draws.

    Returns:
      1 - specificity [101], lowest and highest sensitivity [101]; None where a class or a second patient is
      absent.
    """
    if np.unique(positive).size < 2 or np.unique(groups).size < 2:
        return None
    order = np.argsort(-np.asarray(scores), kind="stable")
    _, starts = np.unique(-np.asarray(scores)[order], return_index=True)
    ends = np.append(starts[1:], len(order)) - 1  # last image of each run of equal scores
    sorted_positive = np.asarray(positive, dtype=np.float64)[order]
    heights = []
    for weights in bootstrap.patient_draws(groups, draws):
        for row in weights[:, order]:
            above, below = np.cumsum(row * sorted_positive), np.cumsum(row * (1 - sorted_positive))
            if above[-1] > 0 and below[-1] > 0:
                x = np.concatenate([[0.0], below[ends] / below[-1]])
                y = np.concatenate([[0.0], above[ends] / above[-1]])
                heights.append(np.interp(GRID, x, y))
    if not heights:
        return None
    low, high = np.quantile(heights, [(1 - bootstrap.LEVEL) / 2, (1 + bootstrap.LEVEL) / 2], axis=0)
    return GRID, low, high
