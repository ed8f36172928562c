"""Overlap and vCDR error for parts of the images: left and right eyes, picture sizes (cameras), quality."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dr_edge.evaluation.masks.scores import MaskScores
from dr_edge.evaluation.subgroups import DRAWS, groups, shown_name
from dr_edge.metrics import bootstrap


def mask_subgroups(class_names: Sequence[str], scores: MaskScores) -> list[dict[str, Any]]:
    """Computes the overlap and the vCDR error for each subgroup of at least SMALLEST images.

    Args:
      class_names: of the masks.
      scores: of a split.

    Returns:
      Rows {kind, name, images, patients, dice {class: value}, vcdr_error (mean absolute; None where no image of the
      split has one)}, a value being {images (that have it), mean, interval}, with mean and interval None where a group
      has none. A kind with fewer than two such groups is left out.
    """
    error = np.abs(scores.found_vcdr - scores.true_vcdr)
    rows = []
    for kind, name, chosen in groups(scores):
        patients = scores.patients[chosen]
        row: dict[str, Any] = {"kind": kind, "name": shown_name(kind, name), "images": int(chosen.sum())}
        row["patients"] = int(np.unique(patients).size)
        row["dice"] = {
            class_name: _mean(scores.dice[chosen, index], patients) for index, class_name in enumerate(class_names)
        }
        row["vcdr_error"] = _mean(error[chosen], patients) if np.isfinite(error).any() else None
        rows.append(row)
    return rows


def _mean(values: np.ndarray, patients: np.ndarray) -> dict[str, Any]:
    """Returns {images, mean, interval} of the finite values [N]."""
    known = np.isfinite(values)
    if not known.any():
        return {"images": 0, "mean": None, "interval": None}
    interval = bootstrap.bootstrap_interval(bootstrap.weighted_mean(values[known]), patients[known], DRAWS)
    return {"images": int(known.sum()), "mean": float(values[known].mean()), "interval": interval.to_json()}
