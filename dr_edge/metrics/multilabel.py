"""Metrics of several diseases, each present, absent or unknown, JSON-safe (see dr_edge.metrics.classification)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dr_edge.metadata import finite_or_none
from dr_edge.metrics import bootstrap, classification


def multilabel_metrics(
    labels: np.ndarray,
    probabilities: np.ndarray,
    class_names: Sequence[str],
    groups: np.ndarray | None = None,
    draws: int = bootstrap.DRAWS,
    threshold: float = 0.5,
) -> dict[str, Any]:
    """Computes the metrics of several diseases, each present or absent; a missing label (-1) is left out.

    Args:
      labels: [N, L] int: 1 present, 0 absent, -1 not known.
      probabilities: [N, L] in 0..1.
      class_names: L disease names.
      groups: [N] patient of each image, or None.
      draws: bootstrap draws; 0 leaves the intervals out.
      threshold: a disease is predicted from this probability on.

    Returns:
      images, patients, mean_f1, mean_auc (of the diseases where they are defined), mean_f1_interval and
      mean_auc_interval (`mean_intervals`), exact_match (share of fully labelled images with every disease right),
      per_class {name: {images, support, prevalence,
      precision, recall, specificity, f1, accuracy, auc, auc_interval, auc_draws, confusion [2][2]}}, notes
      [str]. None where undefined.

    Raises:
      ValueError: as `classification_metrics`.
    """
    labels, probabilities, groups = classification.checked(labels, probabilities, len(class_names), groups)
    classification.check_labels(labels, classification.MISSING, 1)
    notes: list[str] = []
    known = labels != classification.MISSING
    per_class = {
        name: _disease_metrics(name, labels[rows, i], probabilities[rows, i], groups[rows], draws, threshold, notes)
        for i, (name, rows) in enumerate(zip(class_names, known.T, strict=True))
    }
    intervals: dict[str, Any] = {"mean_f1_interval": None, "mean_auc_interval": None}
    if draws:
        intervals = mean_intervals(labels, probabilities, groups, draws, threshold)
    complete = known.all(axis=1)
    matches = ((probabilities >= threshold) == labels).all(axis=1)[complete]
    return {
        "images": int(labels.shape[0]),
        "patients": int(np.unique(groups).size),
        "mean_f1": classification.mean_known(values["f1"] for values in per_class.values()),
        "mean_auc": classification.mean_known(values["auc"] for values in per_class.values()),
        **intervals,
        "exact_match": float(matches.mean()) if complete.any() else None,
        "per_class": per_class,
        "notes": notes,
    }


def mean_intervals(
    labels: np.ndarray,
    probabilities: np.ndarray,
    groups: np.ndarray,
    draws: int = bootstrap.DRAWS,
    threshold: float = 0.5,
) -> dict[str, Any]:
    """Computes how sure the means over several diseases are, by a bootstrap of whole patients.

    A draw in which a disease is undefined gives the mean of the others (`bootstrap.mean_of_defined`).

    Args:
      labels, probabilities, threshold: as in `multilabel_metrics`.
      groups: [N] patient of each image.
      draws: bootstrap draws.

    Returns:
      mean_f1_interval and mean_auc_interval [low, high]; None where no disease is defined or there is one
      patient only.
    """
    f1, areas = [], []
    for column, scores in zip(labels.T, probabilities.T, strict=True):
        rows = column != classification.MISSING
        positive, scores = column[rows] == 1, scores[rows]
        if positive.any() or (scores >= threshold).any():
            f1.append(bootstrap.on_rows(rows, bootstrap.weighted_f1(positive, scores >= threshold)))
        if 0 < positive.sum() < positive.size:
            areas.append(bootstrap.on_rows(rows, bootstrap.weighted_auc(positive, scores)))
    parts = {"mean_f1": f1, "mean_auc": areas}
    statistics = {name: bootstrap.mean_of_defined(each) for name, each in parts.items() if each}
    result: dict[str, Any] = {f"{name}_interval": None for name in parts}
    if np.unique(groups).size < 2:
        return result
    for name, values in bootstrap.bootstrap(statistics, groups, draws).items():
        result[f"{name}_interval"] = bootstrap.percentile_interval(values).to_json()
    return result


def _disease_metrics(
    name: str,
    labels: np.ndarray,
    probabilities: np.ndarray,
    groups: np.ndarray,
    draws: int,
    threshold: float,
    notes: list[str],
) -> dict[str, Any]:
    """Returns the metrics of one disease from its labelled images ([n] 0 or 1); adds what is undefined to `notes`."""
    from sklearn import metrics as reference

    result: dict[str, Any] = {"images": int(labels.size), "support": int(labels.sum())}
    if labels.size == 0:
        notes.append(f"No image has a label for {name!r}.")
        values = ("prevalence", "precision", "recall", "specificity", "f1", "accuracy", "auc", "confusion")
        return result | dict.fromkeys(values) | {"auc_interval": None, "auc_draws": 0}
    predicted = (probabilities >= threshold).astype(int)
    confusion = reference.confusion_matrix(labels, predicted, labels=[0, 1])
    precision, recall, f1, _ = reference.precision_recall_fscore_support(
        labels, predicted, labels=[1], zero_division=np.nan
    )
    auc = classification.area_under_curve(labels == 1, probabilities)
    if auc is None:
        state = "present" if labels[0] else "absent"
        notes.append(f"AUC of {name!r} is undefined: all labelled images are {state}.")
    statistics = {} if auc is None else {"auc": bootstrap.weighted_auc(labels == 1, probabilities)}
    healthy = int(confusion[0].sum())
    return (
        result
        | {
            "prevalence": float(labels.mean()),
            "precision": finite_or_none(precision[0]),
            "recall": finite_or_none(recall[0]),
            "specificity": float(confusion[0, 0] / healthy) if healthy else None,
            "f1": finite_or_none(f1[0]),
            "accuracy": float((predicted == labels).mean()),
            "auc": auc,
            "confusion": confusion.tolist(),
        }
        | classification.bootstrap_intervals(statistics, ("auc",), groups, draws, notes)
    )
