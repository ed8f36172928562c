"""The paired bootstrap: both runs see the same draws of patients, so that a hard draw is hard for both and cancels."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from dr_edge.metrics import bootstrap
from dr_edge.metrics.bootstrap import Statistic


@dataclasses.dataclass(frozen=True)
class Pair:
    """One number of both runs.

    Attributes:
      a, b: [d, N] weights of the common images -> [d] values.
      less_is_better: of an error.
      facts: more to state beside it, for example how many images it is of.
    """

    a: Statistic
    b: Statistic
    less_is_better: bool = False
    facts: Mapping[str, int] = dataclasses.field(default_factory=dict)


def differences(pairs: Mapping[str, Pair], patients: np.ndarray, draws: int) -> dict[str, dict[str, Any]]:
    """Compares each pair on the same bootstrap draws of whole patients.

    Args:
      pairs: name -> pair.
      patients: [N] patient of each image.
      draws: bootstrap draws.

    Returns:
      name -> {a, b, difference (B - A), interval, b_better (share of draws, a tie counts half), draws,
      less_is_better} and the pair's facts; a pair that is undefined on these images is left out. interval and
      b_better are None with a single patient: there is nothing to draw from.
    """
    once = np.ones((1, len(patients)))
    drawn: dict[str, np.ndarray] = {}
    if np.unique(patients).size > 1:
        statistics = {f"{name}/{side}": getattr(pair, side) for name, pair in pairs.items() for side in "ab"}
        drawn = bootstrap.bootstrap(statistics, patients, draws)
    result = {}
    for name, pair in pairs.items():
        a, b = float(pair.a(once)[0]), float(pair.b(once)[0])
        if not np.isfinite([a, b]).all():
            continue
        entry: dict[str, Any] = {"a": a, "b": b, "difference": b - a, "interval": None, "b_better": None, "draws": 0}
        if drawn:
            difference = drawn[f"{name}/b"] - drawn[f"{name}/a"]
            interval = bootstrap.percentile_interval(difference)
            gain = difference[np.isfinite(difference)] * (-1 if pair.less_is_better else 1)
            share = float(((gain > 0) + 0.5 * (gain == 0)).mean()) if gain.size else None
            entry |= {"interval": interval.to_json(), "b_better": share, "draws": interval.draws}
        result[name] = entry | {"less_is_better": pair.less_is_better} | dict(pair.facts)
    return result


def paired_mean(a: np.ndarray, b: np.ndarray, less_is_better: bool = False) -> Pair:
    """Returns the mean of `a` and of `b` [N] over the images where both are finite; `facts` says how many those are
    (images), and where only one has a value (only_a, only_b).
    """
    used, facts = _both(a, b, np.ones(len(a), bool))
    of_a, of_b = (_over(used, bootstrap.weighted_mean(values[used])) for values in (a, b))
    return Pair(of_a, of_b, less_is_better, facts)


def paired_auc(positive: np.ndarray, known: np.ndarray, a: np.ndarray, b: np.ndarray) -> Pair:
    """Returns the AUC of the scores `a` and of `b` [N] over the images that are `known` [N] bool and where both are
    finite; `facts` as in `paired_mean`.
    """
    used, facts = _both(a, b, known)
    if not used.any():  # the AUC's statistic needs an image
        return Pair(_undefined, _undefined, facts=facts)
    of_a, of_b = (_over(used, bootstrap.weighted_auc(positive[used], scores[used])) for scores in (a, b))
    return Pair(of_a, of_b, facts=facts)


def _both(a: np.ndarray, b: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, dict[str, int]]:
    """Returns where both have a value, [N] bool, and the counts."""
    has_a, has_b = known & np.isfinite(a), known & np.isfinite(b)
    parts = {"images": has_a & has_b, "only_a": has_a & ~has_b, "only_b": has_b & ~has_a}
    return parts["images"], {name: int(part.sum()) for name, part in parts.items()}


def _over(used: np.ndarray, inner: Statistic) -> Statistic:
    return lambda weights: inner(weights[:, used])


def _undefined(weights: np.ndarray) -> np.ndarray:
    return np.full(len(weights), np.nan)
