"""How far the judged images lie from what the model was trained on (Mahalanobis distance of penultimate
features).
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from dr_edge import reliability
from dr_edge.evaluation.predictions import Predictions, predict_split
from dr_edge.trained import TrainedRun

PASS_RATE = 0.99  # of the validation images; the threshold is the distance that so many of them stay below
MAX_IMAGES = 1500  # training images to fit on


def check(
    run: TrainedRun, records: str | os.PathLike, val: Predictions | None, test: Predictions, batch_size: int
) -> tuple[dict[str, Any] | None, np.ndarray | None]:
    """Fits the distance on training images, its threshold on `val`, and applies both to `test`.

    Args:
      run: a classification or multilabel run.
      records: the records that the run was trained on.
      val, test: predictions with features.
      batch_size: images per step.

    Returns:
      {fitted_on, shrinkage, wanted (pass rate on validation), threshold, passed (share of `test`), beyond
      (images)} and the distances of `test` [N]; (None, None) where there is no validation split or no layer
      `penultimate`.
    """
    if val is None or val.features is None or test.features is None:
        return None, None
    train = predict_split(run, records, "train", batch_size, MAX_IMAGES)
    if train.features is None:
        raise RuntimeError("The model gives penultimate features for validation, but not for training images.")
    labels = train.labels if run.task.kind == "classification" else np.zeros(len(train), int)
    statistics = reliability.fit_features(train.features, labels)
    threshold = float(np.quantile(reliability.mahalanobis_distance(val.features, statistics), PASS_RATE))
    distances = reliability.mahalanobis_distance(test.features, statistics)
    return {
        "fitted_on": statistics.images,
        "shrinkage": statistics.shrinkage,
        "wanted": PASS_RATE,
        "threshold": threshold,
        "passed": float((distances <= threshold).mean()),
        "beyond": int((distances > threshold).sum()),
    }, distances
