"""How far the judged images lie from what the model was trained on (Mahalanobis distance of penultimate
features).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dr_edge import fitting, reliability
from dr_edge.evaluation.predictions import Predictions
from dr_edge.fitting import Fit


def check(fit: Fit | None, test: Predictions) -> tuple[dict[str, Any] | None, np.ndarray | None]:
    """Applies the run's distance, fitted on training images, and its threshold, chosen on validation, to `test`.

    Args:
      fit: of the run; None where there is no validation split.
      test: predictions with features.

    Returns:
      {fitted_on, shrinkage, wanted (pass rate on validation), threshold, passed (share of `test`), beyond
      (images)} and the distances of `test` [N]; (None, None) where there is no validation split or no layer
      `penultimate`.
    """
    if fit is None or fit.features is None or test.features is None:
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
