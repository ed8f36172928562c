"""What two segmentation runs are compared in: overlap, vCDR, and glaucoma and fovea where both runs have them."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

from dr_edge.evaluation.masks.scores import MaskScores
from dr_edge.evaluation.paired import Pair, paired_auc, paired_mean

# The labelled ratio is measured on masks of the records' size: a pixel at 64 px is a tenth of a small disc's height.
SAME_VCDR = 0.15


def pairs(class_names: Sequence[str], a: MaskScores, b: MaskScores) -> dict[str, Pair]:
    """Returns what to compare on aligned scores.

    Returns:
      "Dice, <class>" and "IoU, <class>" for each class, "vCDR error" (mean absolute), "glaucoma AUC of vCDR", "fovea
      error, px" of the photograph and "fovea error, disc diameters". Each is over the images where both runs have a
      value; the pair's facts count those where only one has.
    """
    result = {}
    for index, name in enumerate(class_names):
        result[f"Dice, {name}"] = paired_mean(a.dice[:, index], b.dice[:, index])
        result[f"IoU, {name}"] = paired_mean(a.iou[:, index], b.iou[:, index])
    errors = [np.abs(scores.found_vcdr - scores.true_vcdr) for scores in (a, b)]
    result["vCDR error"] = paired_mean(errors[0], errors[1], less_is_better=True)
    known = (a.glaucoma >= 0) & (b.glaucoma >= 0)
    result["glaucoma AUC of vCDR"] = paired_auc(a.glaucoma == 1, known, a.found_vcdr, b.found_vcdr)
    result["fovea error, px"] = paired_mean(a.fovea_pixels, b.fovea_pixels, less_is_better=True)
    result["fovea error, disc diameters"] = paired_mean(
        a.fovea_disc_diameters, b.fovea_disc_diameters, less_is_better=True
    )
    return result


def check_labels(a: MaskScores, b: MaskScores, run_a: str | os.PathLike, run_b: str | os.PathLike) -> None:
    """Raises ValueError where aligned scores were taken against other labels: another vCDR, or glaucoma in one and
    not in the other. Labels that only one of the records holds are no contradiction.
    """
    with np.errstate(invalid="ignore"):
        ratio = np.abs(a.true_vcdr - b.true_vcdr) > SAME_VCDR  # False where either is unknown
    disease = (a.glaucoma >= 0) & (b.glaucoma >= 0) & (a.glaucoma != b.glaucoma)
    differ = ratio | disease
    if differ.any():
        place = int(np.argmax(differ))
        raise ValueError(
            f"{int(differ.sum())} images have another label in {run_b} than in {run_a}, for example {a.ids[place]}: "
            f"labelled vCDR {a.true_vcdr[place]:.2f} and {b.true_vcdr[place]:.2f}, glaucoma {a.glaucoma[place]} and "
            f"{b.glaucoma[place]}. Evaluate both on the same --records."
        )
