"""Operating points: thresholds chosen on validation, then applied to other images as they are.

A threshold chosen on the images that it is judged on flatters. Here the validation split chooses, and the
interval says how well the promise holds elsewhere.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from dr_edge.calibration.operating_points import RULES, Rule, choose_threshold
from dr_edge.data.tasks import Task
from dr_edge.evaluation.predictions import MISSING
from dr_edge.metadata import finite_or_none
from dr_edge.metrics import bootstrap

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


def questions(task: Task, labels: np.ndarray, scores: np.ndarray, groups: np.ndarray) -> list[Question]:
    """Returns the questions of yes or no behind a task: whether its class is one of the positive ones (of DR's five
    grades whether they are referable); each disease of a multilabel task, where it is labelled; of other tasks none.

    Args:
      task: classification or multilabel.
      labels: [N] int, or [N, L] of 0, 1, -1 (not known).
      scores: [N, C] probabilities.
      groups: [N] patient.
    """
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
      where all draws agree), and referred (share called positive), true_positives, false_positives, true_negatives,
      false_negatives. None where undefined.
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


def share_interval(hit: np.ndarray, among: np.ndarray, groups: np.ndarray) -> list[float] | None:
    """Returns the 95 % interval of the share of `among` [N] bool that is `hit`, by patient; None with fewer than two.

    Args:
      hit, among: [N] bool.
      groups: [N] patient.
    """
    if np.unique(groups).size < 2:
        return None
    drawn = bootstrap.bootstrap({"share": bootstrap.weighted_share(hit, among)}, groups)["share"]
    return _interval(drawn, hit, among, groups)


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
