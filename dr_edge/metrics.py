"""Metrics of classification, multi-label and segmentation outputs, as JSON-safe dictionaries.

scikit-learn computes the values; intervals are 95 % bootstrap intervals by patient (dr_edge.bootstrap). A
value that is undefined (an area under the curve where one class is absent) is None, and `notes` says why in
words.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dr_edge import bootstrap
from dr_edge.bootstrap import bootstrap_interval as bootstrap_interval
from dr_edge.metadata import finite_or_none

MISSING = -1
FEW = 10  # images of a class below which a note warns
PROBABILITY_TOLERANCE = 1e-3  # float16 and int8 artifacts round


def classification_metrics(
    labels: np.ndarray,
    probabilities: np.ndarray,
    class_names: Sequence[str],
    ordered: bool = False,
    groups: np.ndarray | None = None,
    draws: int = bootstrap.DRAWS,
) -> dict[str, Any]:
    """Computes the metrics of a task with one class per image.

    Args:
      labels: [N] int, 0..C-1.
      probabilities: [N, C], rows sum to 1; the predicted class is the most probable.
      class_names: C names; of two classes the second is the positive one.
      ordered: the classes are grades, so that quadratic weighted kappa (QWK) has a meaning; two classes
        always have it.
      groups: [N] patient of each image for the bootstrap; None takes each image as its own patient.
      draws: bootstrap draws; 0 leaves the intervals out (None), for a training loop.

    Returns:
      images, patients, accuracy, balanced_accuracy (mean recall of the classes present), macro_f1, auc (two
      classes: of class 1; more: mean one-versus-rest), qwk, log_loss, <accuracy|auc|qwk>_interval [low,
        high], auc_draws,
      average_precision (two classes), per_class {name: {precision, recall, f1, auc, support}},
      confusion [C][C] (rows: label, columns: predicted), notes [str]. None where undefined.

    Raises:
      ValueError: wrong shapes, labels out of range, or probabilities that are not finite or do not sum to 1.
    """
    from sklearn import metrics

    labels, probabilities, groups = _checked(labels, probabilities, len(class_names), groups)
    _check_labels(labels, 0, len(class_names) - 1)
    total = probabilities.sum(axis=1)
    if np.abs(total - 1).max() > PROBABILITY_TOLERANCE:
        raise ValueError(
            f"Class probabilities must sum to 1. Received sums from {total.min():.4g} to {total.max():.4g}: "
            f"these may be logits, or yes/no probabilities for multilabel_metrics."
        )
    classes = list(range(len(class_names)))
    predicted = probabilities.argmax(axis=1)
    present = np.unique(labels)
    notes = [
        f"No image of class {class_names[index]!r}: its recall and AUC are undefined."
        for index in sorted(set(classes) - set(present.tolist()))
    ]
    notes += [
        f"Only {count} images of class {class_names[index]!r}: what is said of it here says little of other patients."
        for index, count in zip(*np.unique(labels, return_counts=True), strict=True)
        if count < FEW
    ]
    precision, recall, f1, support = metrics.precision_recall_fscore_support(
        labels, predicted, labels=classes, zero_division=np.nan
    )
    areas = [_auc(labels == index, probabilities[:, index]) for index in classes]
    binary = len(classes) == 2
    auc, auc_statistic = _overall_auc(labels, probabilities, areas, present)
    if auc is None:
        notes.append("AUC is undefined: all images are of one class.")
    elif auc == 1.0:
        notes.append(
            "The classes are separated perfectly, so the bootstrap interval of the AUC has no width: it knows these "
            "images only, and other patients need not be separated as well."
        )
    graded = ordered or binary
    result: dict[str, Any] = {
        "images": int(labels.size),
        "patients": int(np.unique(groups).size),
        "accuracy": float(metrics.accuracy_score(labels, predicted)),
        "balanced_accuracy": finite_or_none(np.mean(recall[present])),
        "macro_f1": finite_or_none(np.mean(f1[present])),
        "auc": auc,
        "qwk": _kappa(labels, predicted, classes) if graded else None,
        "log_loss": float(metrics.log_loss(labels, _clipped(probabilities), labels=classes)),
        "average_precision": _average_precision(labels, probabilities) if binary else None,
        "per_class": {
            name: {
                "precision": finite_or_none(precision[index]),
                "recall": finite_or_none(recall[index]),
                "f1": finite_or_none(f1[index]),
                "auc": areas[index],
                "support": int(support[index]),
            }
            for index, name in enumerate(class_names)
        },
        "confusion": metrics.confusion_matrix(labels, predicted, labels=classes).tolist(),
    }
    statistics = {"accuracy": bootstrap.weighted_mean(predicted == labels)}
    if auc_statistic is not None:
        statistics["auc"] = auc_statistic
    if result["qwk"] is not None:
        statistics["qwk"] = bootstrap.weighted_kappa(labels, predicted, len(classes))
    result |= _intervals(statistics, ("accuracy", "auc", "qwk"), groups, draws, notes)
    return result | {"notes": notes}


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
    labels, probabilities, groups = _checked(labels, probabilities, len(class_names), groups)
    _check_labels(labels, MISSING, 1)
    notes: list[str] = []
    known = labels != MISSING
    per_class = {
        name: _disease_metrics(
            name, labels[rows, i], probabilities[rows, i], groups[rows], draws, threshold, notes
        )
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
        "mean_f1": _mean_known(values["f1"] for values in per_class.values()),
        "mean_auc": _mean_known(values["auc"] for values in per_class.values()),
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
        rows = column != MISSING
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
    """Returns the metrics of one disease from its labelled images ([n] 0 or 1); adds what is undefined to
    `notes`.
    """
    from sklearn import metrics

    result: dict[str, Any] = {"images": int(labels.size), "support": int(labels.sum())}
    if labels.size == 0:
        notes.append(f"No image has a label for {name!r}.")
        values = ("prevalence", "precision", "recall", "specificity", "f1", "accuracy", "auc", "confusion")
        return result | dict.fromkeys(values) | {"auc_interval": None, "auc_draws": 0}
    predicted = (probabilities >= threshold).astype(int)
    confusion = metrics.confusion_matrix(labels, predicted, labels=[0, 1])
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(
        labels, predicted, labels=[1], zero_division=np.nan
    )
    auc = _auc(labels == 1, probabilities)
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
        | _intervals(statistics, ("auc",), groups, draws, notes)
    )


def _checked(
    labels: np.ndarray, probabilities: np.ndarray, classes: int, groups: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns labels, probabilities (float64) and groups as arrays whose shapes agree; raises ValueError."""
    labels, probabilities = np.asarray(labels), np.asarray(probabilities, dtype=np.float64)
    count = labels.shape[0] if labels.ndim else 0
    groups = np.arange(count) if groups is None else np.asarray(groups)
    if count == 0 or probabilities.shape != (count, classes) or groups.shape != (count,):
        raise ValueError(
            f"Metrics need N >= 1 labels, [N, {classes}] probabilities and [N] groups. Received: labels "
            f"{labels.shape}, "
            f"probabilities {probabilities.shape}, groups {groups.shape}."
        )
    if not np.isfinite(probabilities).all():
        bad = int((~np.isfinite(probabilities).all(axis=1)).sum())
        raise ValueError(
            f"Probabilities of {bad} of {count} images are not finite. The model diverged or its input is "
            f"broken."
        )
    return labels, probabilities, groups


def _check_labels(labels: np.ndarray, lowest: int, highest: int) -> None:
    """Raises ValueError unless all labels are integers in lowest..highest."""
    if not np.issubdtype(labels.dtype, np.integer) or labels.min() < lowest or labels.max() > highest:
        raise ValueError(
            f"Labels must be integers from {lowest} to {highest}. Received: {labels.dtype}, "
            f"from {labels.min()} to {labels.max()}."
        )


def _overall_auc(
    labels: np.ndarray, probabilities: np.ndarray, areas: Sequence[float | None], present: np.ndarray
) -> tuple[float | None, bootstrap.Statistic | None]:
    """Returns the AUC of class 1 (two classes) or the mean one-versus-rest AUC of the classes present, and
    its statistic.
    """
    if len(present) < 2:
        return None, None
    if len(areas) == 2:
        return areas[1], bootstrap.weighted_auc(labels == 1, probabilities[:, 1])
    each = [bootstrap.weighted_auc(labels == index, probabilities[:, index]) for index in present]

    def statistic(weights: np.ndarray) -> np.ndarray:
        return np.mean([part(weights) for part in each], axis=0)

    return float(np.mean([areas[index] for index in present])), statistic


def _intervals(
    statistics: dict[str, bootstrap.Statistic],
    names: Sequence[str],
    groups: np.ndarray,
    draws: int,
    notes: list[str],
) -> dict[str, Any]:
    """Returns {<name>_interval: [low, high] or None, auc_draws: n}; explains a missing AUC interval in
    `notes`.
    """
    result: dict[str, Any] = {f"{name}_interval": None for name in names} | {"auc_draws": 0}
    if draws == 0:
        return result
    if np.unique(groups).size < 2:
        notes.append("One patient only: no bootstrap interval.")
        return result
    for name, values in bootstrap.bootstrap(statistics, groups, draws).items():
        interval = bootstrap.percentile_interval(values)
        result[f"{name}_interval"] = interval.to_json()
        if name == "auc":
            result["auc_draws"] = interval.draws
            if interval.low is None:
                notes.append(
                    f"No AUC interval: only {interval.draws} of {draws} bootstrap draws hold every class."
                )
    return result


def _auc(positive: np.ndarray, scores: np.ndarray) -> float | None:
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(positive, scores)) if 0 < positive.sum() < positive.size else None


def _average_precision(labels: np.ndarray, probabilities: np.ndarray) -> float | None:
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(labels == 1, probabilities[:, 1])) if (labels == 1).any() else None


def _kappa(labels: np.ndarray, predicted: np.ndarray, classes: Sequence[int]) -> float | None:
    """Quadratic weighted kappa; None where labels and predictions are all one and the same class (0 / 0)."""
    from sklearn.metrics import cohen_kappa_score

    if np.unique(np.concatenate([labels, predicted])).size < 2:
        return None
    return finite_or_none(cohen_kappa_score(labels, predicted, labels=list(classes), weights="quadratic"))


def _clipped(probabilities: np.ndarray) -> np.ndarray:
    """Keeps log_loss finite for a probability of exactly 0, as an int8 artifact gives."""
    clipped = np.clip(probabilities, 1e-7, 1.0)
    return clipped / clipped.sum(axis=1, keepdims=True)


def _mean_known(values: Any) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
