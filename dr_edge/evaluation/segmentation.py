"""Evaluates a run that draws masks: overlap per image and class, and the vertical cup-to-disc ratio that
they give.
"""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from dr_edge import bootstrap, metadata
from dr_edge.evaluation import mask_report, predictions
from dr_edge.metadata import finite_or_none
from dr_edge.trained import TrainedRun

THRESHOLD = 0.5
DISC, CUP = "optic_disc", "optic_cup"


@dataclasses.dataclass(frozen=True)
class MaskScores:
    """A row per image.

    Attributes:
      ids, patients, laterality: [N] str.
      dice, iou: [N, M] float, one column per mask; NaN where the image has no such mask or both masks are
        empty.
      true_vcdr, found_vcdr: [N] float; NaN where disc or cup is missing.
      quality: [N] float.
      source_size: [N, 2] int.
    """

    ids: np.ndarray
    patients: np.ndarray
    laterality: np.ndarray
    dice: np.ndarray
    iou: np.ndarray
    true_vcdr: np.ndarray
    found_vcdr: np.ndarray
    quality: np.ndarray
    source_size: np.ndarray


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


def vertical_ratio(disc: np.ndarray, cup: np.ndarray) -> float:
    """Returns height of the cup / height of the disc, from [S, S] bool masks; NaN where either is empty."""
    heights = [np.flatnonzero(mask.any(axis=1)) for mask in (cup, disc)]
    if any(rows.size == 0 for rows in heights):
        return float("nan")
    cup_height, disc_height = (rows[-1] - rows[0] + 1 for rows in heights)
    return float(cup_height / disc_height)


def evaluate_masks(run: TrainedRun, records: str, settings: Any, staging: Path) -> dict[str, Any]:
    """Evaluates a segmentation run into `staging`: predictions.csv and report.html.

    Returns:
      The content of metrics.json.

    Raises:
      ValueError: no image of the split has a mask that the task uses.
      RuntimeError: the model's output is not finite.
    """
    from dr_edge.evaluation import flow

    scores = score_split(run, records, settings.split, settings.batch_size)
    content = flow.describe(run, records, settings) | {
        "images": len(scores.ids),
        "metrics": mask_metrics(run.task.class_names, scores),
    }
    metadata.write_text(staging / predictions.CSV_FILE, to_csv(run.task.class_names, scores))
    judged = np.flatnonzero(np.isfinite(scores.dice).any(axis=1))
    order = [int(row) for row in judged[np.argsort(np.nanmean(scores.dice[judged], axis=1), kind="stable")]]
    drawn = np.random.default_rng(bootstrap.SEED).permutation(order)[: settings.examples]
    worst = mask_report.cards(run, records, settings.split, scores, order[: settings.examples], "worst")
    others = mask_report.cards(run, records, settings.split, scores, [int(row) for row in drawn], "at random")
    metadata.write_text(staging / flow.REPORT_FILE, mask_report.render(run, content, scores, worst, others))
    return content


def score_split(run: TrainedRun, records: str, split: str, batch_size: int) -> MaskScores:
    """Runs the model over a split and scores each image; whole masks are not kept."""
    from dr_edge.data import pipeline

    masks = run.task.masks
    ratio = (masks.index(DISC), masks.index(CUP)) if DISC in masks and CUP in masks else None
    rows: dict[str, list[np.ndarray]] = {}
    total = pipeline.example_count(pipeline.read_info(records), split, run.task)
    with tqdm(total=total, desc=f"predict {split}", unit="image", dynamic_ncols=True) as bar:
        for batch in pipeline.evaluation_batches(records, split, run.task, batch_size):
            truth, logits = batch["label"].numpy(), run.model.predict_on_batch(batch["image"])
            if not np.isfinite(logits).all():
                raise RuntimeError(
                    f"{run.directory}: the model gives outputs that are not finite. Train again."
                )
            found = run.probabilities(logits) >= THRESHOLD
            dice, iou = overlap(truth, found)
            part = {
                key: batch[key].numpy() for key in ("id", "patient", "laterality", "quality", "source_size")
            }
            part |= {"dice": dice, "iou": iou, "true": _ratios(truth, ratio), "found": _ratios(found, ratio)}
            for key, values in part.items():
                rows.setdefault(key, []).append(values)
            bar.update(len(dice))
    if not rows:
        raise ValueError(f"{records}: split {split!r} holds no image with the masks {', '.join(masks)}.")
    joined = {key: np.concatenate(values) for key, values in rows.items()}
    text = {
        key: np.array([value.decode("utf-8") for value in joined[key]])
        for key in ("id", "patient", "laterality")
    }
    return MaskScores(
        text["id"], text["patient"], text["laterality"], joined["dice"], joined["iou"], joined["true"], joined["found"],
        joined["quality"].astype(float), joined["source_size"].astype(int),
    )  # fmt: skip


def mask_metrics(class_names: Sequence[str], scores: MaskScores) -> dict[str, Any]:
    """Summarises overlap and, where disc and cup are drawn, the vertical cup-to-disc ratio (vCDR).

    Returns:
      patients, dice (mean of the classes), per_class {name: {images, dice, dice_interval, median_dice, iou,
      iou_interval}}, vcdr {images, mean_absolute_error, mean_absolute_error_interval, bias (found - true),
      limits (95 % limits of agreement, Bland and Altman 1986), correlation, not_found (images with a labelled
      ratio but no drawn one)}, or None where no image has a labelled ratio, notes.
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
    varied = error.size > 2 and true.std() > 0 and found.std() > 0
    return {
        "images": int(both.sum()),
        "not_found": int((labelled & ~both).sum()),
        "mean_absolute_error": float(np.abs(error).mean()),
        "mean_absolute_error_interval": _mean_interval(np.abs(error), scores.patients[both]),
        "bias": float(error.mean()),
        "limits": None
        if spread is None
        else [float(error.mean() - 1.96 * spread), float(error.mean() + 1.96 * spread)],
        "correlation": finite_or_none(np.corrcoef(true, found)[0, 1]) if varied else None,
    }


def to_csv(class_names: Sequence[str], scores: MaskScores) -> str:
    """Returns the table as CSV: id, patient, dice_<class>, iou_<class>, vCDR, laterality, quality, height,
    width.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    measures = [f"{kind}_{name}" for kind in ("dice", "iou") for name in class_names]
    writer.writerow(
        [
            "id",
            "patient",
            *measures,
            "vcdr_true",
            "vcdr_found",
            "laterality",
            "quality",
            "source_height",
            "source_width",
        ]
    )
    for row in range(len(scores.ids)):
        values = [*scores.dice[row], *scores.iou[row], scores.true_vcdr[row], scores.found_vcdr[row]]
        cells = ["" if not np.isfinite(value) else f"{value:.6f}" for value in values]
        writer.writerow(
            [
                scores.ids[row],
                scores.patients[row],
                *cells,
                scores.laterality[row],
                f"{scores.quality[row]:.4f}",
            ]
            + [*scores.source_size[row]]
        )
    return text.getvalue()


def _ratios(masks: np.ndarray, places: tuple[int, int] | None) -> np.ndarray:
    """Returns the vCDR of each image [B]; NaN where disc and cup are not both there."""
    if places is None:
        return np.full(len(masks), np.nan)
    disc, cup = (masks[..., place] > 0.5 for place in places)
    return np.array([vertical_ratio(*pair) for pair in zip(disc, cup, strict=True)])


def _mean_interval(values: np.ndarray, patients: np.ndarray) -> list[float] | None:
    if values.size == 0:
        return None
    return bootstrap.bootstrap_interval(bootstrap.weighted_mean(values), patients).to_json()
