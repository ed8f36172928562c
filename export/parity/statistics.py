"""How much worse one set of outputs is than another on the same images, with paired bootstrap intervals.

Which images a statistic counts depends on the labels alone, so that both sides are judged on the same ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dr_edge.data.tasks import Task
from dr_edge.evaluation.masks.measures import overlap, ratios
from dr_edge.metadata import finite_or_none
from dr_edge.metrics import bootstrap

MISSING = -1
MASK_THRESHOLD = 0.5
RATIO = "vcdr_accuracy"


def metric_name(metric: str) -> str:
    """Returns what people call a metric: "auc" -> "AUC", "dice optic disc" -> "Dice of the optic disc"."""
    if metric.startswith("dice "):
        return f"Dice of the {metric.removeprefix('dice ')}"
    return {"auc": "AUC", "qwk": "quadratic weighted kappa", RATIO: "vCDR error"}.get(metric, metric)


def change_name(metric: str) -> str:
    """Returns what people call a change for the worse: errors increase, everything else drops."""
    return "increase" if metric == RATIO else "drop"


def shown_metrics(drops: Mapping[str, Any]) -> list[str]:
    """Returns which metrics of a row tables show, the clinical ones: the AUC; of masks each Dice coefficient and the
    error of the vertical cup-to-disc ratio.
    """
    return ["auc"] if "auc" in drops else dice_metrics(drops) + [RATIO] * (RATIO in drops)


def dice_metrics(row: Mapping[str, Any]) -> list[str]:
    """Returns which keys of a row are Dice coefficients, without their intervals."""
    return [key for key in row if key.startswith("dice ") and not key.endswith("_interval")]


def shown_value(row: Mapping[str, Any], metric: str) -> float | None:
    """Returns a metric as people read it: of the ratio's accuracy the error. Its drop is what the error grows by."""
    value = row.get(metric)
    return 1 - value if metric == RATIO and value is not None else value


def ratio_error(row: Mapping[str, Any]) -> tuple[float | None, list[float] | None]:
    """Returns the mean absolute error of a row's vertical cup-to-disc ratio, and its interval; None for unknown."""
    bounds = row.get(f"{RATIO}_interval")
    return shown_value(row, RATIO), None if bounds is None else [1 - bounds[1], 1 - bounds[0]]


def class_statistics(
    task: Task, labels: np.ndarray, probabilities: np.ndarray, threshold: float | None = None
) -> dict[str, bootstrap.Statistic]:
    """Returns the statistics by which a classification or multilabel artifact is judged.

    Args:
      task: classification or multilabel.
      labels: [N] int, or [N, L] of 0, 1, -1 (missing).
      probabilities: [N, C].
      threshold: of the disease's probability at the operating point, for classifications that have one.

    Returns:
      Name -> function of bootstrap weights. Higher is better for all of them.
    """
    if task.kind == "multilabel":
        return _multilabel_statistics(task, labels, probabilities)
    predicted = probabilities.argmax(axis=1)
    classes = len(task.class_names)
    statistics = {"accuracy": bootstrap.weighted_mean(predicted == labels)}
    if classes == 2:
        disease = task.positive[0] if task.positive else 1  # the AUC is the same for both
        statistics["auc"] = bootstrap.weighted_auc(labels == disease, probabilities[:, disease])
    else:
        present = [index for index in range(classes) if (labels == index).any()]
        each = [bootstrap.weighted_auc(labels == index, probabilities[:, index]) for index in present]
        statistics["auc"] = _mean_of(each)
    if classes == 2 or task.ordered:
        statistics["qwk"] = bootstrap.weighted_kappa(labels, predicted, classes)
    if threshold is not None and task.positive:
        statistics |= _shares(task, labels, probabilities, threshold)
    return statistics


def _shares(
    task: Task, labels: np.ndarray, probabilities: np.ndarray, threshold: float
) -> dict[str, bootstrap.Statistic]:
    """Returns sensitivity and specificity for the task's positive classes at a threshold of their probability."""
    ill, called = task.is_positive(labels), task.positive_probability(probabilities) >= threshold
    return {
        "sensitivity": bootstrap.weighted_share(called, ill),
        "specificity": bootstrap.weighted_share(~called, ~ill),
    }


def _multilabel_statistics(task: Task, labels: np.ndarray, probabilities: np.ndarray) -> dict[str, bootstrap.Statistic]:
    areas: list[bootstrap.Statistic] = []
    for index in range(len(task.class_names)):
        known = labels[:, index] != MISSING
        if known.any():
            area = bootstrap.weighted_auc(labels[known, index] == 1, probabilities[known, index])
            areas.append(_among(area, known))
    known = labels != MISSING
    right = np.where(known, (probabilities >= 0.5) == (labels == 1), False)
    share = right.sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    return {"accuracy": bootstrap.weighted_mean(share), "auc": _mean_of(areas)}


def _among(statistic: bootstrap.Statistic, known: np.ndarray) -> bootstrap.Statistic:
    """Returns the statistic of the images that `known` [N] bool marks, as a function of the weights of all."""
    return lambda weights: statistic(weights[:, known])


def _mean_of(statistics: Sequence[bootstrap.Statistic]) -> bootstrap.Statistic:
    return lambda weights: np.mean([statistic(weights) for statistic in statistics], axis=0)


def mask_statistics(task: Task, labels: np.ndarray, masks: np.ndarray) -> dict[str, bootstrap.Statistic]:
    """Returns the statistics by which a segmentation artifact is judged.

    Args:
      task: segmentation.
      labels: [N, S, S, M] of 0, 1, -1 (missing).
      masks: [N, S, S, M] probabilities.

    Returns:
      "dice <mask>" -> mean over the images that have it. Where the task has disc and cup, of the images with a labelled
      vertical cup-to-disc ratio: "vcdr_found", the share on which a ratio is found, and "vcdr_accuracy", 1 - mean
      absolute error, where a ratio that is not found is an error of 1. Higher is better for all of them.
    """
    found = masks >= MASK_THRESHOLD
    dice, _ = overlap(labels, found)
    statistics = {f"dice {name}": _mean_where(dice[:, index]) for index, name in enumerate(task.class_names)}
    true, own = (ratios(task, values) for values in (labels > 0, found))
    if true is not None and own is not None:
        labelled = np.isfinite(true)
        errors = np.where(np.isfinite(own), np.abs(own - true), 1.0)
        statistics[RATIO] = _mean_where(np.where(labelled, 1 - errors, np.nan))
        statistics["vcdr_found"] = bootstrap.weighted_share(np.isfinite(own), labelled)
    return statistics


def with_intervals(statistics: Mapping[str, bootstrap.Statistic], groups: np.ndarray) -> dict[str, Any]:
    """Returns {name: value, "<name>_interval": [low, high]} of statistics over all images; None where undefined.

    Args:
      statistics: name -> function of bootstrap weights.
      groups: [N] patient of each image.
    """
    ones = np.ones((1, len(groups)))
    result: dict[str, Any] = {}
    for name, statistic in statistics.items():
        result[name] = finite_or_none(statistic(ones)[0])
        result[f"{name}_interval"] = bootstrap.bootstrap_interval(statistic, groups).to_json()
    return result


def at_operating_points(
    task: Task,
    points: Sequence[Mapping[str, Any]],
    labels: np.ndarray,
    probabilities: np.ndarray,
    groups: np.ndarray,
) -> list[dict[str, Any]]:
    """Measures sensitivity and specificity at thresholds that were chosen elsewhere.

    Args:
      task: classification; says which classes are the disease.
      points: each with "name" and "threshold" of the disease's probability.
      labels: [N] class.
      probabilities: [N, C].
      groups: [N] patient of each image.

    Returns:
      One dict per point: name, threshold, sensitivity, specificity and their 95 % intervals; None where undefined.
    """
    rows = []
    for point in points:
        statistics = _shares(task, labels, probabilities, point["threshold"])
        rows.append({"name": point["name"], "threshold": point["threshold"], **with_intervals(statistics, groups)})
    return rows


def _mean_where(values: np.ndarray) -> bootstrap.Statistic:
    known = np.isfinite(values)
    mean = bootstrap.weighted_mean(np.where(known, values, 0.0))
    share = bootstrap.weighted_mean(known)

    def statistic(weights: np.ndarray) -> np.ndarray:
        below = share(weights)
        return np.divide(mean(weights), below, out=np.full(below.shape, np.nan), where=below > 0)

    return statistic


def compare(
    own: Mapping[str, bootstrap.Statistic], reference: Mapping[str, bootstrap.Statistic], groups: np.ndarray
) -> dict[str, Any]:
    """Compares two sets of outputs on the same images.

    Args:
      own: statistics of the artifact.
      reference: the same statistics of what it should equal.
      groups: [N] patient of each image; both eyes of a person are drawn together.

    Returns:
      {name: value of `own`}, "drop": {name: reference - own; positive is worse} and "drop_interval": {name: 95 %
      interval from paired draws}. None where undefined.
    """
    ones = np.ones((1, len(groups)))
    values = {name: finite_or_none(statistic(ones)[0]) for name, statistic in own.items()}
    drop: dict[str, float | None] = {}
    for name, statistic in reference.items():
        base = finite_or_none(statistic(ones)[0])
        value = values[name]
        drop[name] = None if base is None or value is None else base - value
    intervals: dict[str, list[float] | None] = dict.fromkeys(own)
    if len(np.unique(groups)) > 1:
        named = {f"own {name}": statistic for name, statistic in own.items()}
        named |= {f"reference {name}": statistic for name, statistic in reference.items()}
        draws = bootstrap.bootstrap(named, groups)
        for name in own:
            difference = draws[f"reference {name}"] - draws[f"own {name}"]
            intervals[name] = bootstrap.percentile_interval(difference).to_json()
    return {**values, "drop": drop, "drop_interval": intervals}
