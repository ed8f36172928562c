"""The pictures of a report: the worst mistakes, and right answers drawn at random, each with its heat map."""

from __future__ import annotations

import base64
import dataclasses
import os

import numpy as np

from dr_edge.data.tasks import Task
from dr_edge.drawing import captions, overlay
from dr_edge.evaluation import outliers
from dr_edge.evaluation.predictions import MISSING, Predictions, examples_by_id
from dr_edge.explanation import heatmaps
from dr_edge.progress import Progress
from dr_edge.runs import TrainedRun

SIDE = 288  # pixels of each picture in the report
METHODS = ("gradcam", "saliency")  # the first that the network can be explained by
BATCH_SIZE = 8
SEED = 20261120


@dataclasses.dataclass(frozen=True)
class Card:
    """One image of the report.

    Attributes:
      caption: what was said and what is right.
      photograph, overlay: JPEG as data URLs; no overlay (None) where it would speak for no disease that was found.
    """

    caption: overlay.Caption
    photograph: str
    overlay: str | None


def mistakes(task: Task, predictions: Predictions, count: int) -> list[tuple[int, int]]:
    """Returns (row, answered class) of up to `count` wrong answers, the surest first."""
    rows, classes, confidence, right = _answers(task, predictions)
    order = [place for place in np.argsort(-confidence, kind="stable") if not right[place]]
    return [(int(rows[place]), int(classes[place])) for place in order[:count]]


def right_answers(task: Task, predictions: Predictions, count: int) -> list[tuple[int, int]]:
    """Returns (row, answered class) of up to `count` right answers, drawn at random but from each class in turn."""
    rows, classes, _, right = _answers(task, predictions)
    drawn = np.random.default_rng(SEED).permutation(np.flatnonzero(right))
    queues = {index: [place for place in drawn if classes[place] == index] for index in range(len(task.class_names))}
    chosen: list[int] = []
    while len(chosen) < count and any(queues.values()):
        chosen += [queue.pop(0) for queue in queues.values() if queue]
    return [(int(rows[place]), int(classes[place])) for place in chosen[:count]]


def largest_feature_distance(
    predictions: Predictions, distances: np.ndarray | None, count: int
) -> list[tuple[int, int]]:
    """Returns (row, answered class) of the `count` images that lie farthest from the training images."""
    classes = predictions.predicted
    return [(row, int(classes[row])) for row in outliers.farthest(distances, count)]


def _answers(task: Task, predictions: Predictions) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Returns row, class, confidence and rightness of every answer (of a disease: where it was found or is there)."""
    if task.kind == "classification":
        confidence = predictions.probabilities.max(axis=1)
        return (
            np.arange(len(predictions)),
            predictions.predicted,
            confidence,
            predictions.predicted == predictions.labels,
        )
    rows, classes = np.nonzero(
        (predictions.labels != MISSING) & ((predictions.labels == 1) | (predictions.probabilities >= 0.5))
    )
    scores, truth = predictions.probabilities[rows, classes], predictions.labels[rows, classes] == 1
    return rows, classes, np.maximum(scores, 1 - scores), (scores >= 0.5) == truth


def cards(
    run: TrainedRun,
    records: str | os.PathLike,
    split: str,
    predictions: Predictions,
    chosen: list[tuple[int, int]],
    title: str,
) -> list[Card]:
    """Draws the chosen images with their heat maps, with a progress bar."""
    used = next(method for method in METHODS if method in heatmaps.methods_of(run.model))
    ids = {str(predictions.ids[row]) for row, _ in chosen}
    examples = examples_by_id(run, records, split, ids) if ids else {}
    result = []
    with Progress(total=len(chosen), desc=f"heat maps: {title}", unit="image", dynamic_ncols=True) as bar:
        for start in range(0, len(chosen), BATCH_SIZE):
            part = chosen[start : start + BATCH_SIZE]
            shown = [examples[str(predictions.ids[row])] for row, _ in part]
            classes = np.array([index for _, index in part])
            images = np.stack([example["image"] for example in shown])
            maps = heatmaps.heat_maps(run.model, used, images, classes, run.background)
            for (row, index), example, heat in zip(part, shown, maps, strict=True):
                scores, label = predictions.probabilities[row], predictions.labels[row]
                name, method = str(predictions.ids[row]), heatmaps.TITLES[used]
                caption = captions.caption(run.task, scores, label, name, method, index)
                is_shown = captions.heat_is_shown(run.task, scores, index)
                laid = data_url(overlay.lay_over(example["photograph"], heat)) if is_shown else None
                result.append(Card(caption, data_url(example["photograph"]), laid))
            bar.update(len(part))
    return result


def data_url(picture: np.ndarray, side: int = SIDE) -> str:
    """Returns [S, S, 3] uint8 RGB as a JPEG data URL of `side` pixels."""
    return "data:image/jpeg;base64," + base64.b64encode(overlay.encode_jpeg(picture, side)).decode("ascii")
