"""How far the judged images lie from what the model was trained on (Mahalanobis distance of penultimate
features).
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from dr_edge import fitted, fitting, reliability
from dr_edge.evaluation.predictions import Predictions
from dr_edge.trained import TrainedRun


def check(
    run: TrainedRun, records: str | os.PathLike, val: Predictions | None, test: Predictions
) -> tuple[dict[str, Any] | None, np.ndarray | None]:
    """Applies the run's distance, fitted on training images, and its threshold, chosen on validation, to `test`.

    Args:
      run: a classification or multilabel run.
      records: the records that the run was trained on.
      val: predictions on validation; None where there is none.
      test: predictions with features.

    Returns:
      {fitted_on, shrinkage, wanted (pass rate on validation), threshold, passed (share of `test`), beyond
      (images)} and the distances of `test` [N]; (None, None) where there is no validation split or no layer
      `penultimate`.
    """
    if val is None or test.features is None:
        return None, None
    fit = fitted.fit_of(run, records)
    if fit.features is None:
        return None, None
    threshold = fit.ood["threshold"]
    distances = reliability.mahalanobis_distance(test.features, fit.features)
    return {
        "fitted_on": fit.features.images,
        "shrinkage": fit.features.shrinkage,
        "wanted": fitting.OOD_QUANTILES[-1],
        "threshold": threshold,
        "passed": float((distances <= threshold).mean()),
        "beyond": int((distances > threshold).sum()),
    }, distances
