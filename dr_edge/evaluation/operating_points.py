"""Operating points: thresholds chosen on validation, then applied to other images as they are.

A threshold chosen on the images that it is judged on flatters. Here the validation split chooses, and the
interval says how well the promise holds elsewhere.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
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
    return apply_thresholds(labels, scores, groups, [threshold], draws)[0]


def apply_thresholds(
    labels: np.ndarray, scores: np.ndarray, groups: np.ndarray, thresholds: Sequence[float],
    draws: int = bootstrap.DRAWS,
) -> list[dict[str, Any]]:  # fmt: skip
    """Computes what each of several thresholds does on a split, as `apply_threshold`, all on the same draws."""
    positive, scores = np.asarray(labels) == 1, np.asarray(scores)
    enough = np.unique(groups).size > 1
    drawn = _draw_shares(positive, scores, groups, thresholds, draws) if enough else None
    results = []
    for place, threshold in enumerate(thresholds):
        called = scores >= threshold
        result: dict[str, Any] = {"threshold": float(threshold), "referred": float(called.mean())}
        shares = {
            "sensitivity": (called, positive),
            "specificity": (~called, ~positive),
            "ppv": (positive, called),
            "npv": (~positive, ~called),
        }
        for name, (hit, among) in shares.items():
            result[name] = finite_or_none(hit[among].mean()) if among.any() else None
        for number, name in enumerate(shares):
            interval = None if drawn is None else _interval(drawn[number][:, place], *shares[name], groups)
            result[f"{name}_interval"] = interval
        results.append(
            result
            | {
                "true_positives": int((called & positive).sum()),
                "false_positives": int((called & ~positive).sum()),
                "true_negatives": int((~called & ~positive).sum()),
                "false_negatives": int((~called & positive).sum()),
            }
        )
    return results


def _draw_shares(
    positive: np.ndarray, scores: np.ndarray, groups: np.ndarray, thresholds: Sequence[float], draws: int
) -> list[np.ndarray]:
    """Returns sensitivity, specificity, ppv and npv at each threshold in each bootstrap draw: four of [draws, T].

    Images between two thresholds count alike at all of them: a draw is summed once, by place among the thresholds.
    """
    ordered = np.sort(np.asarray(thresholds, np.float64))
    cells = np.searchsorted(ordered, scores, side="right") + (len(ordered) + 1) * positive
    order = np.argsort(cells, kind="stable")
    present, starts = np.unique(cells[order], return_index=True)
    below = np.searchsorted(ordered, thresholds, side="left")  # cells up to here are not called positive
    parts = []
    for weights in bootstrap.patient_draws(groups, draws):
        sums = np.zeros((len(weights), 2 * (len(ordered) + 1)))
        sums[:, present] = np.add.reduceat(weights[:, order], starts, axis=1)  # whole numbers: exact
        upward = sums.reshape(len(weights), 2, -1).cumsum(axis=2)
        total, not_called = upward[:, :, -1:], upward[:, :, below]
        called = total - not_called
        parts.append(
            [
                _share(called[:, 1], total[:, 1]),
                _share(not_called[:, 0], total[:, 0]),
                _share(called[:, 1], called.sum(axis=1)),
                _share(not_called[:, 0], not_called.sum(axis=1)),
            ]
        )
    return [np.concatenate(column) for column in zip(*parts, strict=True)]


def _share(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Divides; NaN where `below` is 0."""
    below = np.broadcast_to(below, above.shape)
    return np.divide(above, below, out=np.full(above.shape, np.nan), where=below > 0)


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
