"""Evaluates a run that draws masks: overlap per image and class, the vertical cup-to-disc ratio that they give and how
well it tells glaucoma, and the place of the fovea.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dr_edge import metadata
from dr_edge.calibration import store
from dr_edge.evaluation import outliers, predictions, verdict
from dr_edge.evaluation.masks import report, subgroups, table
from dr_edge.evaluation.masks.constant import Constant, of_validation
from dr_edge.evaluation.masks.measures import CUP, DISC
from dr_edge.evaluation.masks.scores import MaskScores, score_split
from dr_edge.evaluation.request import NO_STABILITY_OF_MASKS, REPORT_FILE, Settings, counted_patients, describe
from dr_edge.evaluation.seen_before import is_unseen
from dr_edge.metadata import finite_or_none
from dr_edge.metrics import bootstrap, glaucoma
from dr_edge.runs import TrainedRun


def evaluate_masks(run: TrainedRun, records: str, settings: Settings, staging: Path) -> dict[str, Any]:
    """Evaluates a segmentation run into `staging`: predictions.csv and report.html.

    Returns:
      The content of metrics.json.

    Raises:
      ValueError: no image of the split has a mask that the task uses.
      RuntimeError: the model's output is not finite.
    """
    basis = store.basis(run, records)
    constant = of_validation(basis.records if basis.own else None, run.task)
    scores = score_split(run, records, settings.split, settings.batch_size, constant)
    names = run.task.class_names[: len(run.task.masks)]  # the rest are heat maps of points
    distant, distances = outliers.check(basis, scores.features)
    described = describe(run, records, settings, basis)
    content = described | {
        "verdict": _verdict(run, scores, constant, described),
        "images": len(scores.ids),
        "metrics": counted_patients(described, mask_metrics(names, scores)),
        "subgroups": [counted_patients(described, row) for row in subgroups.mask_subgroups(names, scores)],
        "out_of_distribution": distant,
        "stability": {"reason": NO_STABILITY_OF_MASKS},
    }
    metadata.write_text(staging / predictions.CSV_FILE, table.to_csv(names, scores))
    judged = np.flatnonzero(np.isfinite(scores.dice).any(axis=1))
    order = [int(row) for row in judged[np.argsort(np.nanmean(scores.dice[judged], axis=1), kind="stable")]]
    drawn = np.random.default_rng(bootstrap.SEED).permutation(order)[: settings.examples]
    far = outliers.farthest(distances, settings.examples // 2)
    pictures = report.Pictures(
        worst=report.cards(run, records, settings.split, scores, order[: settings.examples], "worst"),
        others=report.cards(run, records, settings.split, scores, [int(row) for row in drawn], "at random"),
        distant=report.cards(run, records, settings.split, scores, far, "least familiar"),
    )
    metadata.write_text(staging / REPORT_FILE, report.render(run, content, scores, pictures))
    return content


def _verdict(
    run: TrainedRun, scores: MaskScores, constant: Constant | None, described: Mapping[str, Any]
) -> dict[str, Any]:
    names = run.task.class_names[: len(run.task.masks)]
    has_ratio = {DISC, CUP} <= set(run.task.masks)
    true, found = (scores.true_vcdr, scores.found_vcdr) if has_ratio else (None, None)
    if scores.constant_dice is None:
        raise ValueError("A verdict needs the scores that `score_split` made: those of a file hold no constant mask.")
    people = verdict.People(scores.patients, described["patients_known"])
    ratio = None if constant is None else constant.ratio
    return verdict.of_masks(
        names, true, found, scores.dice, scores.constant_dice, people, described["split"], is_unseen(described), ratio
    )


def mask_metrics(class_names: Sequence[str], scores: MaskScores) -> dict[str, Any]:
    """Summarises overlap and, where disc and cup are drawn, the vertical cup-to-disc ratio (vCDR).

    Returns:
      patients, dice (mean of the classes), per_class {name: {images, dice, dice_interval, median_dice, iou,
      iou_interval}}, vcdr {images, mean_absolute_error, mean_absolute_error_interval, bias (found - true),
      limits (95 % limits of agreement, Bland and Altman 1986), correlation, not_found (images with a labelled
      ratio but no drawn one)}, or None where no image has a labelled ratio, glaucoma {auc, auc_interval (of the found
      vCDR), auc_of_labelled_vcdr, images}, or None where the labels do not hold both classes, fovea {images, pixels,
      pixels_interval, disc_diameters, disc_diameters_interval, within_half_disc (share of images)}, or None, notes.
    """
    per_class, notes = {}, []
    for index, name in enumerate(class_names):
        known = np.isfinite(scores.dice[:, index])
        entry: dict[str, Any] = {"images": int(known.sum())}
        if not known.any():
            notes.append(f"No image has a mask of the {name}.")
        for key, values in (("dice", scores.dice[known, index]), ("iou", scores.iou[known, index])):
            entry[key] = float(values.mean()) if known.any() else None
            entry[f"{key}_interval"] = _mean_interval(values, scores.patients[known])
        entry["median_dice"] = float(np.median(scores.dice[known, index])) if known.any() else None
        per_class[name] = entry
    stated = [entry["dice"] for entry in per_class.values() if entry["dice"] is not None]
    return {
        "patients": int(np.unique(scores.patients).size),
        "dice": float(np.mean(stated)) if stated else None,
        "per_class": per_class,
        "vcdr": _vcdr_metrics(scores),
        "glaucoma": _glaucoma_metrics(scores),
        "fovea": _fovea_metrics(scores),
        "notes": notes,
    }


def _vcdr_metrics(scores: MaskScores) -> dict[str, Any] | None:
    labelled = np.isfinite(scores.true_vcdr)
    both = labelled & np.isfinite(scores.found_vcdr)
    if not labelled.any():
        return None
    if not both.any():  # nothing was drawn: to be said, not left out
        undefined = ("mean_absolute_error", "mean_absolute_error_interval", "bias", "limits", "correlation")
        return {"images": 0, "not_found": int(labelled.sum())} | dict.fromkeys(undefined)
    true, found = scores.true_vcdr[both], scores.found_vcdr[both]
    error = found - true
    spread = float(error.std(ddof=1)) if error.size > 1 else None
    varied = error.size > 2 and np.ptp(true) > 0 and np.ptp(found) > 0
    return {
        "images": int(both.sum()),
        "not_found": int((labelled & ~both).sum()),
        "mean_absolute_error": float(np.abs(error).mean()),
        "mean_absolute_error_interval": _mean_interval(np.abs(error), scores.patients[both]),
        "bias": float(error.mean()),
        "limits": (
            None if spread is None else [float(error.mean() - 1.96 * spread), float(error.mean() + 1.96 * spread)]
        ),
        "correlation": finite_or_none(np.corrcoef(true, found)[0, 1]) if varied else None,
    }


def _glaucoma_metrics(scores: MaskScores) -> dict[str, Any] | None:
    """Returns how well the vCDR tells glaucoma; None where the labels do not hold both classes."""
    area, images = glaucoma.glaucoma_auc(scores.glaucoma, scores.found_vcdr)
    if area is None:
        return None
    used = (scores.glaucoma >= 0) & np.isfinite(scores.found_vcdr)
    statistic = bootstrap.weighted_auc(scores.glaucoma[used] == 1, scores.found_vcdr[used])
    return {
        "images": images,
        "auc": area,
        "auc_interval": bootstrap.bootstrap_interval(statistic, scores.patients[used]).to_json(),
        "auc_of_labelled_vcdr": glaucoma.glaucoma_auc(scores.glaucoma, scores.true_vcdr)[0],
    }


def _fovea_metrics(scores: MaskScores) -> dict[str, Any] | None:
    """Returns the mean distance of the found from the labelled fovea; None where no image has one."""
    known = np.isfinite(scores.fovea_pixels)
    if not known.any():
        return None
    result: dict[str, Any] = {"images": int(known.sum())}
    for key, values in (("pixels", scores.fovea_pixels), ("disc_diameters", scores.fovea_disc_diameters)):
        used = np.isfinite(values)
        result[key] = float(values[used].mean()) if used.any() else None
        result[f"{key}_interval"] = _mean_interval(values[used], scores.patients[used])
    measured = scores.fovea_disc_diameters[np.isfinite(scores.fovea_disc_diameters)]
    result["within_half_disc"] = float((measured <= 0.5).mean()) if measured.size else None
    return result


def _mean_interval(values: np.ndarray, patients: np.ndarray) -> list[float] | None:
    if values.size == 0:
        return None
    return bootstrap.bootstrap_interval(bootstrap.weighted_mean(values), patients).to_json()
