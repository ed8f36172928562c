"""How thresholds are chosen on validation: the rules, and what each of them picks."""

from __future__ import annotations

import dataclasses

import numpy as np


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
        raise ValueError(f"No operating point {rule.kind!r} at {rule.target}. Known: sensitivity, specificity, youden.")
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
    # Half way to the next lower score: the same on these images, and no closer to one side than need be on others.
    below = thresholds[place + 1] if place + 1 < len(thresholds) else thresholds[place]
    return float((thresholds[place] + below) / 2)
