"""Two checks of the heat maps themselves: do they depend on what was learned, and do they lie on the lesions?

A map that stays the same when the weights are shuffled shows the picture, not the model (Adebayo et al.,
"Sanity checks for saliency maps", NeurIPS 2018). Where lesion masks are known, the share of heat inside them
is compared with chance: the share of the field of view that they cover.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np

from dr_edge import metadata
from dr_edge.evaluation.heatmap_checks import verdict as heatmap_verdict
from dr_edge.evaluation.heatmap_checks.verdict import ALIKE, ALL, LAST
from dr_edge.evaluation.predictions import Predictions, examples_by_id
from dr_edge.explanation import heatmaps
from dr_edge.metrics import bootstrap
from dr_edge.progress import Progress
from dr_edge.runs import TrainedRun

METHODS = ("gradcam", "layercam", "saliency")
IMAGES = 16  # for the check by shuffling
LESION_IMAGES = 96  # which 16 of them were drawn moved the ratio by a quarter
BATCH_SIZE = 8
GRID = 32  # maps are compared on this many cells a side, so that single pixels do not decide
ANATOMY = ("optic_disc", "optic_cup")  # masks that are no lesions
LIT = 10  # brightest channel; darker is outside the field of view
SEED = 20261120


def check(
    run: TrainedRun,
    records: str | os.PathLike,
    split: str,
    predictions: Predictions,
    images: int = IMAGES,
    lesion_images: int = LESION_IMAGES,
) -> dict[str, Any]:
    """Runs both checks on some images of a split.

    Args:
      run: a finished classification or multilabel run; of several diseases the likeliest is explained.
      records, split: where the images are.
      predictions: of that split.
      images, lesion_images: at most so many for the check by shuffling, and for that by lesions.

    Returns:
      images, randomisation {method: {shuffled: {rank_correlation, changed, images, blank_trained, blank_shuffled}}}
      with shuffled "last layers" and "all layers", verdict (`heatmap_verdict.judge`), and lesions {masks, images,
      cells, ceiling, <method>: {share, chance, ratio, ratio_interval}}, or None where the records hold no lesion masks
      or no lesion image was answered right. `ceiling` is the ratio that the lesion masks themselves reach when drawn
      with the cells x cells of Grad-CAM's map; both are None for a network without such a map, whose methods are fewer,
      too. Several diseases are not held against lesions. All numbers are means over images.

      rank_correlation is the mean of absolute values: a map and its reverse are equally alike in what they show, and
      must not cancel. It is over the `images` where both maps hold heat. blank_trained counts those where the trained
      model's map holds none, of which nothing can change; blank_shuffled the others where the shuffled model's holds
      none, as behind a dead ReLU, which says nothing of the trained one's. Without any image left, rank_correlation and
      changed are None: not judged.
    """
    methods = tuple(method for method in METHODS if method in heatmaps.methods_of(run.model))
    rows = _spread(run, predictions, images)
    examples = examples_by_id(run, records, split, {str(predictions.ids[row]) for row in rows})
    pictures = np.stack([examples[str(predictions.ids[row])]["image"] for row in rows])
    inside = np.stack([_fov(examples[str(predictions.ids[row])]) for row in rows])
    classes = predictions.predicted[rows]
    randomisation: dict[str, Any] = {}
    models = {
        LAST: shuffled(run.model, last_only=True),
        ALL: shuffled(run.model, last_only=False),
    }
    with Progress(total=len(methods) * (1 + len(models)), desc="sanity check of the heat maps", unit="model") as bar:
        for method in methods:
            learned = _maps(run.model, method, pictures, classes, run.background)
            bar.update()
            randomisation[method] = {}
            for name, model in models.items():
                other = _maps(model, method, pictures, classes, run.background)
                randomisation[method][name] = compared(learned, other, inside)
                bar.update()
    graded = run.task.kind == "classification"
    lesions = _lesions(run, records, split, predictions, lesion_images, methods) if graded else None
    dataset = metadata.read_manifest(records, "dataset")["dataset"]
    return {
        "images": len(rows),
        "randomisation": randomisation,
        "lesions": lesions,
        "verdict": heatmap_verdict.judge(randomisation, lesions, dataset),
    }


def shuffled(model: Any, last_only: bool) -> Any:
    """Returns a copy of `model` whose weights are permuted within each tensor.

    Args:
      model: a flat Keras model with the layers `penultimate` and `logits`.
      last_only: shuffle the weights of these two layers only.
    """
    from dr_edge.framework import keras

    copy = keras.models.clone_model(model)
    rng = np.random.default_rng(SEED)
    for layer, original in zip(copy.layers, model.layers, strict=True):
        weights = original.get_weights()
        if not last_only or original.name in ("penultimate", "logits"):
            weights = [rng.permutation(weight.ravel()).reshape(weight.shape) for weight in weights]
        layer.set_weights(weights)
    return copy


def compared(learned: np.ndarray, other: np.ndarray, inside: np.ndarray) -> dict[str, Any]:
    """Returns how alike maps [B, S, S] of the trained and of a shuffled model are; the keys are `check`'s."""
    heated = np.array([_varies(_inside(heat, fov)) for heat, fov in zip(learned, inside, strict=True)])
    correlation = rank_correlations(learned, other, inside)
    known = np.isfinite(correlation)
    mean = float(np.abs(correlation[known]).mean()) if known.any() else None
    return {
        "rank_correlation": mean,
        "changed": None if mean is None else mean < ALIKE,
        "images": int(known.sum()),
        "blank_trained": int((~heated).sum()),
        "blank_shuffled": int((heated & ~known).sum()),
    }


def rank_correlations(first: np.ndarray, second: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Returns Spearman's rank correlation of each pair of maps, over cells of GRID x GRID inside the field of view.

    Args:
      first, second: [B, S, S] float.
      inside: [B, S, S] bool; the dark frame would make any two maps alike.

    Returns:
      [B], -1 to 1; NaN where a map holds no heat: it has no ranking.
    """
    from scipy.stats import spearmanr

    values = []
    for *pair, fov in zip(first, second, inside, strict=True):
        cells = [_inside(heat, fov) for heat in pair]
        values.append(float(spearmanr(*cells).statistic) if all(map(_varies, cells)) else np.nan)
    return np.array(values)


def _inside(heat: np.ndarray, fov: np.ndarray) -> np.ndarray:
    """Returns the heat [K] of the cells of the grid that lie in the field of view."""
    return _cells(heat)[_cells(fov.astype(np.float32)) > 0.5]


def _varies(cells: np.ndarray) -> bool:
    """Says whether cells [K] have a ranking."""
    return bool(cells.size > 1 and cells.max() > cells.min())


def _cells(values: np.ndarray) -> np.ndarray:
    return cv2.resize(values, (GRID, GRID), interpolation=cv2.INTER_AREA)


def _fov(example: Mapping[str, Any]) -> np.ndarray:
    """Returns where the photograph is lit, [S, S] bool."""
    return example["photograph"].max(axis=-1) > LIT


def heat_share(heat: np.ndarray, lesions: np.ndarray, fov: np.ndarray) -> tuple[float, float]:
    """Returns the share of heat inside `lesions` and the share by chance.

    Args:
      heat: [S, S] float >= 0. Heat outside the field of view counts as heat that missed; a map without heat
        has share 0.
      lesions, fov: [S, S] bool, neither empty.
    """
    total = float(heat.sum())
    share = float((heat * lesions).sum()) / total if total > 0 else 0.0
    return share, float((lesions & fov).sum() / fov.sum())


def _lesions(
    run: TrainedRun,
    records: str | os.PathLike,
    split: str,
    predictions: Predictions,
    images: int,
    methods: Sequence[str],
) -> dict[str, Any] | None:
    held = metadata.read_manifest(records, "dataset").get("masks", [])
    names = tuple(name for name in held if name not in ANATOMY)
    right = np.flatnonzero(
        (predictions.predicted == predictions.labels) & np.isin(predictions.labels, run.task.unhealthy)
    )
    if not names or right.size == 0:
        return None
    chosen = np.random.default_rng(SEED).permutation(right)[:images]
    examples = examples_by_id(run, records, split, {str(predictions.ids[row]) for row in chosen}, names)
    masks = {name: _lesion_mask(example, names) for name, example in examples.items()}
    chosen = np.array([row for row in chosen if masks[str(predictions.ids[row])].any()], dtype=int)
    if chosen.size == 0:
        return None
    ids = [str(predictions.ids[row]) for row in chosen]
    pictures = np.stack([examples[name]["image"] for name in ids])
    patients = predictions.patients[chosen]
    fovs = [_fov(examples[name]) for name in ids]
    lesions = [masks[name] for name in ids]
    result: dict[str, Any] = {"masks": list(names), "images": len(ids), "cells": None, "ceiling": None}
    if "gradcam" in methods:
        result["cells"] = cells = int(run.model.get_layer(heatmaps.FEATURE_LAYER).output.shape[1])
        perfect = np.stack([_coarse(mask, cells) for mask in lesions])
        result["ceiling"] = _shares(perfect, lesions, fovs, patients)["ratio"]
    for method in Progress(methods, desc="heat inside lesions", unit="method"):
        maps = _maps(run.model, method, pictures, predictions.predicted[chosen], run.background)
        result[method] = _shares(maps, lesions, fovs, patients)
    return result


def _shares(
    maps: np.ndarray, lesions: Sequence[np.ndarray], fovs: Sequence[np.ndarray], patients: np.ndarray
) -> dict[str, Any]:
    """Returns share, chance, ratio and ratio_interval over the images; a map without heat has a share of 0."""
    inside, chance = np.array([heat_share(*each) for each in zip(maps, lesions, fovs, strict=True)]).T
    interval = bootstrap.bootstrap_interval(_ratio_of_means(inside, chance), patients)
    return {
        "share": float(inside.mean()),
        "chance": float(chance.mean()),
        "ratio": float(inside.mean() / chance.mean()),
        "ratio_interval": interval.to_json(),
    }


def _coarse(mask: np.ndarray, cells: int) -> np.ndarray:
    """Returns a lesion mask as a perfect map of cells x cells would show it, [S, S] float32 >= 0."""
    small = cv2.resize(mask.astype(np.float32), (cells, cells), interpolation=cv2.INTER_AREA)
    return np.maximum(cv2.resize(small, mask.shape[::-1], interpolation=cv2.INTER_CUBIC), 0)


def _ratio_of_means(above: np.ndarray, below: np.ndarray) -> bootstrap.Statistic:
    return lambda weights: (weights @ above) / (weights @ below)


def _lesion_mask(example: Mapping[str, Any], names: tuple[str, ...]) -> np.ndarray:
    """Returns the union of the lesion masks, [S, S] bool."""
    return np.any([example[f"mask/{name}"] > 0.5 for name in names], axis=0)


def _spread(run: TrainedRun, predictions: Predictions, images: int) -> np.ndarray:
    """Returns up to `images` rows, drawn at random but evenly from the predicted classes."""
    rng = np.random.default_rng(SEED)
    queues = [
        rng.permutation(np.flatnonzero(predictions.predicted == index)) for index in range(len(run.task.class_names))
    ]
    order = sorted((place, index, row) for index, queue in enumerate(queues) for place, row in enumerate(queue))
    return np.array([row for _, _, row in order[:images]], dtype=int)


def _maps(model: Any, method: str, pictures: np.ndarray, classes: np.ndarray, background: float) -> np.ndarray:
    parts = [
        heatmaps.heat_maps(
            model,
            method,
            pictures[start : start + BATCH_SIZE],
            classes[start : start + BATCH_SIZE],
            background,
        )
        for start in range(0, len(pictures), BATCH_SIZE)
    ]
    return np.concatenate(parts)
