"""Scores each image of a split by the masks that a run draws: overlap in the crop, vCDR and fovea in the photograph."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from absl import logging

from dr_edge.data.records import as_text
from dr_edge.data.tasks import Task
from dr_edge.evaluation.masks.constant import Constant, LabelledMasks
from dr_edge.evaluation.masks.measures import CUP, DISC, FOVEA, GLAUCOMA, overlap
from dr_edge.evaluation.predictions import with_features
from dr_edge.fundus.crop import FieldOfView, uncrop_points
from dr_edge.metrics import glaucoma
from dr_edge.metrics.glaucoma import THRESHOLD
from dr_edge.progress import Progress
from dr_edge.runs import TrainedRun


@dataclasses.dataclass(frozen=True)
class MaskScores:
    """A row per image.

    Attributes:
      ids, patients, laterality: [N] str.
      dice, iou: [N, M] float, one column per mask; NaN where the image has no such mask or both masks are
        empty.
      true_vcdr, found_vcdr: [N] float, in the photograph's own frame; NaN where disc or cup is missing.
      quality: [N] float.
      source_size: [N, 2] int.
      glaucoma: [N] int, 1, 0, or -1 where the records do not say.
      fovea_pixels, fovea_disc_diameters: [N] float, distance of the found from the labelled fovea in pixels of the
        photograph and in diameters of the labelled disc; NaN where that is not known.
      features: [N, F] float32 of the layer `penultimate`; None where they were read from a file or the model has no
        such layer.
      constant_dice: [N, M] float, Dice of one mask for all images (`constant`); None where they were read from a file.
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
    glaucoma: np.ndarray
    fovea_pixels: np.ndarray
    fovea_disc_diameters: np.ndarray
    features: np.ndarray | None = None
    constant_dice: np.ndarray | None = None


def score_split(
    run: TrainedRun, records: str, split: str, batch_size: int, constant: Constant | None = None
) -> MaskScores:
    """Runs the model over a split and scores each image; of its labelled masks a bit per pixel is kept while it does.

    Args:
      run: a finished segmentation run.
      records, split: what is judged.
      batch_size: images per step.
      constant: that `constant_dice` is of; None for the one that fits the judged images best.

    Raises:
      ValueError: no image of the split has a mask that the task uses.
      RuntimeError: the model's output is not finite.
    """
    from dr_edge.data import label_values, pipeline
    from dr_edge.data.records_info import read_info

    masks, info = run.task.masks, read_info(records)
    extra: tuple[str, ...] = ()
    ill = np.zeros(0, int)
    if GLAUCOMA in info.content["labels"]:
        try:  # its values are numbered in the order of their names: "glaucoma" may well be 0
            extra, ill = (GLAUCOMA,), np.array(label_values.presence(info, GLAUCOMA))
        except ValueError as err:
            logging.warning("%s Until then nothing is said of how well the ratio tells glaucoma.", err)
    network, has_features = with_features(run.model)
    rows: dict[str, list[np.ndarray]] = {}
    labelled = LabelledMasks()
    total = pipeline.example_count(info, split, run.task)
    with Progress(total=total, desc=f"predict {split}", unit="image", dynamic_ncols=True) as bar:
        for batch in pipeline.evaluation_batches(records, split, run.task, batch_size, extra_labels=extra):
            truth, outputs = batch["label"].numpy()[..., : len(masks)], network.predict_on_batch(batch["image"])
            logits = outputs[0] if has_features else outputs
            if not np.isfinite(logits).all():
                raise RuntimeError(f"{run.directory}: the model gives outputs that are not finite. Train again.")
            probabilities = run.probabilities(logits)
            labelled.add(truth)
            dice, iou = overlap(truth, probabilities[..., : len(masks)] >= THRESHOLD)
            part = {key: batch[key].numpy() for key in ("id", "patient", "laterality", "quality", "source_size")}
            part |= {"dice": dice, "iou": iou}
            part |= {"features": np.asarray(outputs[1], np.float32)} if has_features else {}
            values = batch[f"label/{GLAUCOMA}"].numpy() if extra else np.full(len(dice), -1)
            part["glaucoma"] = np.array([ill[value] if value >= 0 else -1 for value in values])
            centres = batch["centres"].numpy() if run.task.draws_centres else [None] * len(dice)
            boxes = batch["crop_box"].numpy()
            images = [
                _in_photograph(run.task, *row)
                for row in zip(truth, probabilities, centres, boxes.tolist(), part["source_size"].tolist(), strict=True)
            ]
            part["measured"] = np.array(images, np.float64)
            for key, values in part.items():
                rows.setdefault(key, []).append(values)
            bar.update(len(dice))
    if not rows:
        raise ValueError(f"{records}: split {split!r} holds no image with the masks {', '.join(masks)}.")
    joined = {key: np.concatenate(values) for key, values in rows.items()}
    text = {key: as_text(joined[key]) for key in ("id", "patient", "laterality")}
    measured = joined["measured"].T
    return MaskScores(
        text["id"], text["patient"], text["laterality"], joined["dice"], joined["iou"], measured[0], measured[1],
        joined["quality"].astype(float), joined["source_size"].astype(int), joined["glaucoma"].astype(int),
        measured[2], measured[3], joined.get("features"), labelled.dice(None if constant is None else constant.masks),
    )  # fmt: skip


def _in_photograph(
    task: Task,
    truth: np.ndarray,
    probabilities: np.ndarray,
    centres: np.ndarray | None,
    box: Sequence[float],
    size: Sequence[int],
) -> tuple[float, float, float, float]:
    """Returns one image's true and found vCDR, its fovea's error in pixels and disc diameters; NaN where unknown."""
    true_ratio = found_ratio = math.nan
    disc = None
    if DISC in task.masks:
        place = task.masks.index(DISC)
        disc = glaucoma.photograph_mask(truth[..., place] > 0.5, box, size)
        if CUP in task.masks:
            cup_place = task.masks.index(CUP)
            true_cup = glaucoma.photograph_mask(truth[..., cup_place] > 0.5, box, size)
            found = [glaucoma.photograph_mask(probabilities[..., index], box, size) for index in (place, cup_place)]
            true_ratio, found_ratio = glaucoma.vcdr(disc, true_cup), glaucoma.vcdr(*found)
    if centres is None or FOVEA not in task.centres or not np.isfinite(centres[task.centres.index(FOVEA)]).all():
        return true_ratio, found_ratio, math.nan, math.nan
    place = task.centres.index(FOVEA)
    found_point = glaucoma.heat_position(probabilities[..., len(task.masks) + place])
    # Records count a pixel's centre as .5, points of the photograph as 0.
    points = np.array([found_point, centres[place] - 0.5])
    carried = uncrop_points(points, FieldOfView.from_box(*box), len(probabilities))
    error = glaucoma.fovea_error(carried[0], carried[1], disc)
    return true_ratio, found_ratio, error.pixels, error.disc_diameters
