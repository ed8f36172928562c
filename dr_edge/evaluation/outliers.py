"""How far the judged images lie from what the model was trained on (Mahalanobis distance of penultimate features)."""

from __future__ import annotations

from typing import Any

import numpy as np

from dr_edge.calibration import fit as fit_lib
from dr_edge.calibration import statistics
from dr_edge.calibration.store import Basis

ENOUGH = round(1 / (1 - fit_lib.OOD_QUANTILES[-1]))  # images of which one lies beyond the threshold


def check(basis: Basis, features: np.ndarray | None) -> tuple[dict[str, Any], np.ndarray | None]:
    """Applies the run's distance, fitted on training images, and its threshold, chosen on validation.

    Args:
      basis: what is fitted to the run.
      features: [N, F] of the layer `penultimate` on the judged images; None where there is no such layer.

    Returns:
      {fitted_on, shrinkage, wanted (pass rate on validation), threshold, chosen_on (validation images; None where an
      earlier release stored the fit), few (so few that the pass rate is a guess), passed (share of the images), beyond
      (images)} and the distances [N]; {reason} and None where there is no distance.
    """
    fit = basis.fit
    if fit is None:
        return {"reason": basis.reason}, None
    if fit.features is None or features is None:
        return {"reason": fit.ood.get("reason", "the network has no layer penultimate")}, None
    threshold = fit.ood["threshold"]
    distances = statistics.mahalanobis_distance(features, fit.features)
    return {
        "fitted_on": fit.features.images,
        "shrinkage": fit.features.shrinkage,
        "wanted": fit_lib.OOD_QUANTILES[-1],
        "threshold": threshold,
        "chosen_on": fit.ood.get("photographs"),
        "few": fit.ood.get("photographs", ENOUGH) < ENOUGH,
        "passed": float((distances <= threshold).mean()),
        "beyond": int((distances > threshold).sum()),
    }, distances


def farthest(distances: np.ndarray | None, count: int) -> list[int]:
    """Returns the rows of the `count` images that lie farthest from the training images; [] without distances."""
    if distances is None:
        return []
    return [int(row) for row in np.argsort(-distances, kind="stable")[:count]]
