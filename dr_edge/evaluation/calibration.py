"""Whether "90 %" means nine times out of ten: calibration before and after the temperature fitted on validation."""

from __future__ import annotations

from typing import Any

import numpy as np

from dr_edge.calibration import statistics, usable
from dr_edge.calibration.fit import Fit
from dr_edge.data.tasks import Task
from dr_edge.evaluation.predictions import MISSING, Predictions

DIAGRAM_BINS = 10


def decisions(task: Task, labels: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns how sure each answer was and whether it was right.

    Args:
      task: classification has one answer per image, multilabel one per image and disease whose label is
        known.
      labels, probabilities: as in Predictions.

    Returns:
      confidence [M] float in 0..1, correct [M] bool.
    """
    if task.kind == "classification":
        return probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    known = labels != MISSING
    scores = probabilities[known]
    return np.maximum(scores, 1 - scores), (scores >= 0.5) == (labels[known] == 1)


def caution(
    task: Task, temperature: float | None, labels: np.ndarray, probabilities: np.ndarray, split: str
) -> str | None:
    """Returns why probabilities must not be read as such (see `usable.caution`); None where nothing speaks against it.

    Args:
      task: classification or multilabel.
      temperature: that they come from; None where none was fitted.
      labels, probabilities: as in Predictions.
      split: that they are of.
    """
    return usable.caution(temperature, *decisions(task, labels, probabilities), f"{len(labels)} {split} images")


def calibrate(task: Task, fit: Fit | None, test: Predictions, split: str) -> dict[str, Any]:
    """Measures the expected calibration error of `test` before and after the temperature of `fit`.

    Returns:
      ece_before, and, where there is a fit, temperature, fitted_on (validation images), ece_after, else None;
      caution (a sentence where the probabilities are not usable as such, else None), and diagram {"before": bins,
      "after": bins or None}, where bins are {confidence, right, images}, lists over the bins that hold images.
    """
    before = decisions(task, test.labels, task.probabilities(test.logits))
    result: dict[str, Any] = {
        "ece_before": statistics.expected_calibration_error(*before),
        "ece_after": None,
        "temperature": None,
        "fitted_on": 0,
        "caution": None,
        "diagram": {"before": _bins(*before), "after": None},
    }
    temperature = None if fit is None else fit.temperature
    probabilities = task.probabilities(test.logits / (temperature or 1.0))
    result["caution"] = caution(task, temperature, test.labels, probabilities, split)
    if fit is None:
        return result
    after = decisions(task, test.labels, probabilities)
    return result | {
        "ece_after": statistics.expected_calibration_error(*after),
        "temperature": fit.temperature,
        "fitted_on": fit.calibration["images"],
        "diagram": {"before": _bins(*before), "after": _bins(*after)},
    }


def _bins(confidence: np.ndarray, correct: np.ndarray) -> dict[str, list[float]]:
    """Averages confidence and correctness over bins of equal width that hold images."""
    place = np.clip(np.ceil(confidence * DIAGRAM_BINS).astype(int) - 1, 0, DIAGRAM_BINS - 1)
    images = np.bincount(place, minlength=DIAGRAM_BINS)
    held = images > 0
    mean_confidence = np.bincount(place, confidence, DIAGRAM_BINS)[held] / images[held]
    right = np.bincount(place, correct, DIAGRAM_BINS)[held] / images[held]
    return {"confidence": mean_confidence.tolist(), "right": right.tolist(), "images": images[held].tolist()}
