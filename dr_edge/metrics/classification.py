"""Metrics of classification, as JSON-safe dictionaries, and what those of several diseases share with them.

scikit-learn computes the values; intervals are 95 % bootstrap intervals by patient (dr_edge.metrics.bootstrap). A
value that is undefined (an area under the curve where one class is absent) is None, and `notes` says why in
words.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dr_edge.metadata import finite_or_none
from dr_edge.metrics import bootstrap

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
    positive: Sequence[int] = (1,),
) -> dict[str, Any]:
    """Computes the metrics of a task with one class per image.

    Args:
      labels: [N] int, 0..C-1.
      probabilities: [N, C], rows sum to 1; the predicted class is the most probable.
      class_names: C names.
      ordered: the classes are grades, so that quadratic weighted kappa (QWK) has a meaning; two classes
        always have it.
      groups: [N] patient of each image for the bootstrap; None takes each image as its own patient.
      draws: bootstrap draws; 0 leaves the intervals out (None), for a training loop.
      positive: of two classes the one that means the disease (`Task.positive`); of more, and where it is (), not used.

    Returns:
      images, patients, accuracy, balanced_accuracy (mean recall of the classes present), macro_f1, auc (two
      classes: of the positive one; more: mean one-versus-rest), qwk, log_loss, <accuracy|auc|qwk>_interval [low,
        high], auc_draws,
      average_precision (two classes, of the positive one), per_class {name: {precision, recall, f1, auc, support}},
      confusion [C][C] (rows: label, columns: predicted), notes [str]. None where undefined.

    Raises:
      ValueError: wrong shapes, labels out of range, or probabilities that are not finite or do not sum to 1.
    """
    from sklearn import metrics

    labels, probabilities, groups = checked(labels, probabilities, len(class_names), groups)
    check_labels(labels, 0, len(class_names) - 1)
    _check_sums(probabilities)
    classes = list(range(len(class_names)))
    predicted = probabilities.argmax(axis=1)
    present = np.unique(labels)
    per_class, recall, f1 = _per_class(labels, probabilities, predicted, class_names)
    areas = [row["auc"] for row in per_class.values()]
    binary = len(classes) == 2
    disease = positive[0] if len(positive) == 1 else 1  # the AUC is the same for both
    auc, auc_statistic = _overall_auc(labels, probabilities, areas, present, disease)
    notes = _notes(labels, class_names, auc)
    result: dict[str, Any] = {
        "images": int(labels.size),
        "patients": int(np.unique(groups).size),
        "accuracy": float(metrics.accuracy_score(labels, predicted)),
        "balanced_accuracy": finite_or_none(np.mean(recall[present])),
        "macro_f1": finite_or_none(np.mean(f1[present])),
        "auc": auc,
        "qwk": _kappa(labels, predicted, classes) if ordered or binary else None,
        "log_loss": float(metrics.log_loss(labels, _clipped(probabilities), labels=classes)),
        "average_precision": (
            _average_precision(labels == disease, probabilities[:, disease]) if binary and positive else None
        ),
        "per_class": per_class,
        "confusion": metrics.confusion_matrix(labels, predicted, labels=classes).tolist(),
    }
    statistics = {"accuracy": bootstrap.weighted_mean(predicted == labels)}
    if auc_statistic is not None:
        statistics["auc"] = auc_statistic
    if result["qwk"] is not None:
        statistics["qwk"] = bootstrap.weighted_kappa(labels, predicted, len(classes))
    result |= bootstrap_intervals(statistics, ("accuracy", "auc", "qwk"), groups, draws, notes)
    return result | {"notes": notes}


def _check_sums(probabilities: np.ndarray) -> None:
    """Raises ValueError unless the probabilities of each image, [N, C], sum to 1."""
    total = probabilities.sum(axis=1)
    if np.abs(total - 1).max() > PROBABILITY_TOLERANCE:
        raise ValueError(
            f"Class probabilities must sum to 1. Received sums from {total.min():.4g} to {total.max():.4g}: "
            "these may be logits, or yes/no probabilities for multilabel_metrics."
        )


def _per_class(
    labels: np.ndarray, probabilities: np.ndarray, predicted: np.ndarray, class_names: Sequence[str]
) -> tuple[dict[str, dict[str, Any]], np.ndarray, np.ndarray]:
    """Returns each class's metrics against all others, and recall and F1 of the classes [C], NaN where undefined."""
    from sklearn.metrics import precision_recall_fscore_support

    precision, recall, f1, support = precision_recall_fscore_support(
        labels, predicted, labels=list(range(len(class_names))), zero_division=np.nan
    )
    rows = {
        name: {
            "precision": finite_or_none(precision[index]),
            "recall": finite_or_none(recall[index]),
            "f1": finite_or_none(f1[index]),
            "auc": area_under_curve(labels == index, probabilities[:, index]),
            "support": int(support[index]),
        }
        for index, name in enumerate(class_names)
    }
    return rows, recall, f1


def _notes(labels: np.ndarray, class_names: Sequence[str], auc: float | None) -> list[str]:
    """Returns what must be said of classes with few images or none, and of an AUC that is undefined or perfect."""
    present, counts = np.unique(labels, return_counts=True)
    notes = [
        f"No image of class {class_names[index]!r}: its recall and AUC are undefined."
        for index in sorted(set(range(len(class_names))) - set(present.tolist()))
    ]
    notes += [
        f"Only {count} images of class {class_names[index]!r}: what is said of it here says little of other patients."
        for index, count in zip(present, counts, strict=True)
        if count < FEW
    ]
    if auc is None:
        notes.append("AUC is undefined: all images are of one class.")
    elif auc == 1.0:
        notes.append(
            "The classes are separated perfectly, so the bootstrap interval of the AUC has no width: it knows these "
            "images only, and other patients need not be separated as well."
        )
    return notes


def checked(
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
            f"Probabilities of {bad} of {count} images are not finite. The model diverged or its input is broken."
        )
    return labels, probabilities, groups


def check_labels(labels: np.ndarray, lowest: int, highest: int) -> None:
    """Raises ValueError unless all labels are integers in lowest..highest."""
    if not np.issubdtype(labels.dtype, np.integer) or labels.min() < lowest or labels.max() > highest:
        raise ValueError(
            f"Labels must be integers from {lowest} to {highest}. Received: {labels.dtype}, "
            f"from {labels.min()} to {labels.max()}."
        )


def _overall_auc(
    labels: np.ndarray, probabilities: np.ndarray, areas: Sequence[float | None], present: np.ndarray, disease: int
) -> tuple[float | None, bootstrap.Statistic | None]:
    """Returns the AUC of class `disease` (two classes) or the mean one-versus-rest AUC, and its statistic."""
    if len(present) < 2:
        return None, None
    if len(areas) == 2:
        return areas[disease], bootstrap.weighted_auc(labels == disease, probabilities[:, disease])
    each = [bootstrap.weighted_auc(labels == index, probabilities[:, index]) for index in present]

    def statistic(weights: np.ndarray) -> np.ndarray:
        return np.mean([part(weights) for part in each], axis=0)

    return float(np.mean([areas[index] for index in present])), statistic


def bootstrap_intervals(
    statistics: dict[str, bootstrap.Statistic],
    names: Sequence[str],
    groups: np.ndarray,
    draws: int,
    notes: list[str],
) -> dict[str, Any]:
    """Returns {<name>_interval: [low, high] or None, auc_draws: n}; explains a missing AUC interval in `notes`."""
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
                notes.append(f"No AUC interval: only {interval.draws} of {draws} bootstrap draws hold every class.")
    return result


def area_under_curve(positive: np.ndarray, scores: np.ndarray) -> float | None:
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(positive, scores)) if 0 < positive.sum() < positive.size else None


def _average_precision(positive: np.ndarray, scores: np.ndarray) -> float | None:
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(positive, scores)) if positive.any() else None


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


def mean_known(values: Any) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
