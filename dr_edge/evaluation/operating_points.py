"""Operating points: thresholds chosen on validation, then applied to other images as they are.

A threshold chosen on the images that it is judged on flatters. Here the validation split chooses, and the
interval says how well the promise holds elsewhere.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from dr_edge import bootstrap
from dr_edge.data.tasks import Task
from dr_edge.evaluation.predictions import MISSING, Predictions
from dr_edge.metadata import finite_or_none


@dataclasses.dataclass(frozen=True)
class Rule:
    """How a threshold is chosen.

    Attributes:
      name: for tables, for example "sensitivity >= 0.90".
      kind: "sensitivity" or "specificity" (at least `target`, the other as high as it goes), or "youden"
        (their sum).
      target: 0..1; not used by "youden".
    """

    name: str
    kind: str
    target: float = 0.0


# name in metadata.json -> rule. 0.87: what the FDA asked of the first autonomous DR device (Abramoff et al., 2018).
RULES = {
    "youden": Rule("highest sum (Youden)", "youden"),
    "sensitivity_80": Rule("sensitivity ≥ 0.80", "sensitivity", 0.80),
    "sensitivity_87": Rule("sensitivity ≥ 0.87", "sensitivity", 0.87),
    "sensitivity_90": Rule("sensitivity ≥ 0.90", "sensitivity", 0.90),
    "sensitivity_95": Rule("sensitivity ≥ 0.95", "sensitivity", 0.95),
    "specificity_90": Rule("specificity ≥ 0.90", "specificity", 0.90),
}
HALF = Rule("probability ≥ 0.50", "fixed", 0.50)


@dataclasses.dataclass(frozen=True)
class Question:
    """A question of yes or no that a task's answer holds.

    Attributes:
      name: what "yes" means.
      labels: [n] int, 1 yes.
      scores: [n] probability of yes.
      groups: [n] patient.
    """

    name: str
    labels: np.ndarray
    scores: np.ndarray
    groups: np.ndarray


def questions(task: Task, predictions: Predictions) -> list[Question]:
    """Returns the questions of yes or no behind a task: whether its class is one of the positive ones (of DR's five grades
    whether they are referable); each disease of a multilabel task, where it is labelled; of other tasks none.
    """
    labels, scores, groups = predictions.labels, predictions.probabilities, predictions.patients
    if task.kind == "multilabel":
        known = [np.flatnonzero(column != MISSING) for column in labels.T]
        return [
            Question(name, labels[rows, place], scores[rows, place], groups[rows])
            for place, (name, rows) in enumerate(zip(task.class_names, known, strict=True))
        ]
    if task.positive:
        yes = task.is_positive(labels).astype(int)
        return [Question(task.positive_name, yes, task.positive_probability(scores), groups)]
    return []


def choose_threshold(labels: np.ndarray, scores: np.ndarray, rule: Rule) -> float | None:
    """Chooses the threshold from which on an image is called positive.

    Args:
      labels: [N] int, 1 positive.
      scores: [N] probability of the positive class.
      rule: how to choose.

    Returns:
      The threshold: half way between two of `scores` (or the rule's own, for "fixed"); None where a class is
        absent.

    Raises:
      ValueError: an unknown kind of rule or a target outside 0..1.
    """
    if rule.kind not in ("sensitivity", "specificity", "youden", "fixed") or not 0 <= rule.target <= 1:
        raise ValueError(
            f"No operating point {rule.kind!r} at {rule.target}. Known: sensitivity, specificity, youden."
        )
    if rule.kind == "fixed":
        return rule.target
    labels, scores = np.asarray(labels), np.asarray(scores, dtype=np.float64)
    if np.unique(labels == 1).size < 2:
        return None
    from sklearn.metrics import roc_curve

    false_rate, sensitivity, thresholds = roc_curve(labels == 1, scores, drop_intermediate=False)
    specificity = 1 - false_rate
    slack = 1e-9  # 9 of 10 is 0.90, whatever the rounding
    if rule.kind == "youden":
        wanted, other = sensitivity + specificity, sensitivity
    elif rule.kind == "sensitivity":
        wanted, other = np.where(sensitivity >= rule.target - slack, specificity, -1.0), sensitivity
    else:
        wanted, other = np.where(specificity >= rule.target - slack, sensitivity, -1.0), specificity
    best = np.flatnonzero(wanted >= wanted.max() - slack)
    place = int(best[np.argmax(other[best])])  # of equally good ones, the one that gives the other most
    if place == 0:  # nobody is called positive
        return float(np.nextafter(scores.max(), np.inf))
    # Half way to the next lower score: the same on these images, and no closer to one side than need be on
    # others.
    below = thresholds[place + 1] if place + 1 < len(thresholds) else thresholds[place]
    return float((thresholds[place] + below) / 2)


def choose_thresholds(question: Question) -> dict[str, float]:
    """Returns the threshold of each of RULES, by its name in metadata.json; {} where an answer is absent."""
    chosen = {name: choose_threshold(question.labels, question.scores, rule) for name, rule in RULES.items()}
    return {name: threshold for name, threshold in chosen.items() if threshold is not None}


def apply_threshold(
    labels: np.ndarray, scores: np.ndarray, groups: np.ndarray, threshold: float, draws: int = bootstrap.DRAWS
) -> dict[str, Any]:
    """Computes what a threshold does on a split.

    Args:
      labels: [N] int, 1 positive.
      scores: [N] probability of the positive class.
      groups: [N] patient.
      threshold: positive from here on.
      draws: bootstrap draws by patient.

    Returns:
      threshold, sensitivity, specificity, ppv, npv, each also as <name>_interval (bootstrap, or Wilson's over patients
      where all draws agree), and referred (share called positive), true_positives, false_positives, true_negatives, false_negatives. None where undefined.
    """
    positive, called = np.asarray(labels) == 1, np.asarray(scores) >= threshold
    shares = {
        "sensitivity": (called, positive),
        "specificity": (~called, ~positive),
        "ppv": (positive, called),
        "npv": (~positive, ~called),
    }
    result: dict[str, Any] = {"threshold": float(threshold), "referred": float(called.mean())}
    for name, (hit, among) in shares.items():
        result[name] = finite_or_none(hit[among].mean()) if among.any() else None
    statistics = {name: bootstrap.weighted_share(hit, among) for name, (hit, among) in shares.items()}
    enough = np.unique(groups).size > 1
    drawn = bootstrap.bootstrap(statistics, groups, draws) if enough else {}
    for name in shares:
        result[f"{name}_interval"] = _interval(drawn[name], *shares[name], groups) if enough else None
    return result | {
        "true_positives": int((called & positive).sum()),
        "false_positives": int((called & ~positive).sum()),
        "true_negatives": int((~called & ~positive).sum()),
        "false_negatives": int((~called & positive).sum()),
    }


def _interval(drawn: np.ndarray, hit: np.ndarray, among: np.ndarray, groups: np.ndarray) -> list[float] | None:
    """Returns the bootstrap's interval of a share, or Wilson's over patients where every draw gave the same.

    When all of few images are right, so are all that a bootstrap draws: its interval has no width, though it knows
    little (Brown, Cai & DasGupta, "Interval estimation for a binomial proportion", 2001).
    """
    bounds = bootstrap.percentile_interval(drawn).to_json()
    if bounds is None or bounds[0] < bounds[1]:
        return bounds
    from scipy.stats import binomtest

    patients = np.unique(np.asarray(groups)[among]).size
    right = round(float(hit[among].mean()) * patients)
    found = binomtest(right, patients).proportion_ci(bootstrap.LEVEL, method="wilson")
    return [float(found.low), float(found.high)]
