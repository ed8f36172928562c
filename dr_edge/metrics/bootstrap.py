"""Bootstrap by patient: how sure a number from few photographs is.

Both eyes of a person are alike, so patients, not images, are drawn with replacement (Efron & Tibshirani,
1993, ch. 8; the percentile interval is ch. 13). A draw is a weight per image (how often its patient was
drawn), so that each statistic is one weighted formula, computed for hundreds of draws at once. numpy only.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

DRAWS = 2000
LEVEL = 0.95
SEED = 20261120
CELLS_PER_CHUNK = 4_000_000  # draws x images held at once: 32 MB of float64

Statistic = Callable[[np.ndarray], np.ndarray]  # [draws, N] weights -> [draws] values, NaN where undefined


@dataclasses.dataclass(frozen=True)
class Interval:
    """A percentile interval.

    Attributes:
      low, high: the bounds, or None where fewer than half of the draws gave a value.
      draws: draws that gave a value.
    """

    low: float | None
    high: float | None
    draws: int

    def to_json(self) -> list[float] | None:
        """Returns [low, high], or None where there is no interval."""
        return None if self.low is None or self.high is None else [self.low, self.high]


def patient_draws(groups: np.ndarray, draws: int = DRAWS, seed: int = SEED) -> Iterator[np.ndarray]:
    """Yields weights of bootstrap draws, in chunks of bounded memory.

    Args:
      groups: [N] patient of each image, any hashable kind that numpy can sort.
      draws: number of draws in all.
      seed: the same seed gives the same draws, so that two models can be compared pairwise.

    Yields:
      [d, N] float64: how often each image's patient was drawn; the d of all chunks add up to `draws`.

    Raises:
      ValueError: no images or a number of draws below 1.
    """
    groups = np.asarray(groups)
    if groups.ndim != 1 or groups.size == 0 or draws < 1:
        raise ValueError(f"A bootstrap needs [N] groups and draws >= 1. Received: shape {groups.shape}, {draws} draws.")
    _, index = np.unique(groups, return_inverse=True)
    patients = int(index.max()) + 1
    rng = np.random.default_rng(seed)
    chunk = max(1, CELLS_PER_CHUNK // max(groups.size, patients))
    for start in range(0, draws, chunk):
        size = min(chunk, draws - start)
        drawn = rng.integers(0, patients, size=(size, patients))
        drawn += np.arange(size)[:, None] * patients  # one bincount for all draws of the chunk
        counts = np.bincount(drawn.ravel(), minlength=size * patients).reshape(size, patients)
        yield counts[:, index].astype(np.float64)


def bootstrap(
    statistics: Mapping[str, Statistic], groups: np.ndarray, draws: int = DRAWS, seed: int = SEED
) -> dict[str, np.ndarray]:
    """Evaluates several statistics on the same draws.

    Args:
      statistics: name -> function of [d, N] weights that returns [d] values.
      groups, draws, seed: as in `patient_draws`.

    Returns:
      name -> [draws] float64; NaN where a draw has no value (for example no positive image in it).
    """
    parts: dict[str, list[np.ndarray]] = {name: [] for name in statistics}
    for weights in patient_draws(groups, draws, seed):
        for name, statistic in statistics.items():
            parts[name].append(np.asarray(statistic(weights), dtype=np.float64))
    return {name: np.concatenate(values) for name, values in parts.items()}


def percentile_interval(values: np.ndarray, level: float = LEVEL) -> Interval:
    """Returns the percentile interval of bootstrap `values` [draws]; NaN draws are left out and not counted."""
    if not 0 < level < 1:
        raise ValueError(f"An interval's level lies between 0 and 1. Received: {level}.")
    finite = values[np.isfinite(values)]
    if finite.size * 2 < values.size or finite.size == 0:
        return Interval(None, None, int(finite.size))
    low, high = np.quantile(finite, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high), int(finite.size))


def bootstrap_interval(
    statistic: Statistic, groups: np.ndarray, draws: int = DRAWS, level: float = LEVEL, seed: int = SEED
) -> Interval:
    """Returns the percentile interval of one statistic; see `bootstrap` and `percentile_interval`.

    With fewer than two patients there is nothing to draw from: the interval is then (None, None, 0).
    """
    if np.unique(np.asarray(groups)).size < 2:
        return Interval(None, None, 0)
    return percentile_interval(bootstrap({"value": statistic}, groups, draws, seed)["value"], level)


def weighted_mean(values: np.ndarray) -> Statistic:
    """Returns a statistic: the mean of `values` [N] (bool or float), for example of `predicted == label`."""
    values = np.asarray(values, dtype=np.float64)

    def statistic(weights: np.ndarray) -> np.ndarray:
        total = weights.sum(axis=1)
        return _ratio(weights @ values, total)

    return statistic


def weighted_share(numerator: np.ndarray, denominator: np.ndarray) -> Statistic:
    """Returns a statistic: the share of `denominator` [N] bool that is in `numerator` too (sensitivity ...)."""
    below = np.asarray(denominator, dtype=np.float64)
    above = np.asarray(numerator, dtype=np.float64) * below

    def statistic(weights: np.ndarray) -> np.ndarray:
        return _ratio(weights @ above, weights @ below)

    return statistic


def weighted_auc(positive: np.ndarray, scores: np.ndarray) -> Statistic:
    """Returns a statistic: the area under the ROC curve, ties counted as one half (Mann-Whitney).

    Args:
      positive: [N] bool.
      scores: [N] finite; higher means more probably positive.
    """
    positive = np.asarray(positive, dtype=bool)
    order = np.argsort(scores, kind="stable")
    _, starts = np.unique(np.asarray(scores)[order], return_index=True)  # first image of each run of equal scores
    is_positive = positive[order].astype(np.float64)

    def statistic(weights: np.ndarray) -> np.ndarray:
        ordered = weights[:, order]
        above = np.add.reduceat(ordered * is_positive, starts, axis=1)  # [d, U]
        below = np.add.reduceat(ordered * (1.0 - is_positive), starts, axis=1)
        outranked = np.cumsum(below, axis=1) - 0.5 * below
        return _ratio((above * outranked).sum(axis=1), above.sum(axis=1) * below.sum(axis=1))

    return statistic


def weighted_f1(labels: np.ndarray, predicted: np.ndarray) -> Statistic:
    """Returns a statistic: F1 of class 1, 2 TP / (labelled + predicted), of `labels` and `predicted` [N] in 0, 1."""
    labels, predicted = np.asarray(labels, np.float64), np.asarray(predicted, np.float64)
    above, below = 2 * labels * predicted, labels + predicted
    return lambda weights: _ratio(weights @ above, weights @ below)


def mean_of_defined(parts: Sequence[Statistic]) -> Statistic:
    """Returns a statistic: the mean of those of `parts` that are defined.

    A draw that holds no patient with a rare disease is not lost: it gives the mean of the other diseases. Of areas,
    which ones those are depends on the labels alone, so that two models on the same draws are averaged over the same
    ones.
    """

    def statistic(weights: np.ndarray) -> np.ndarray:
        values = np.stack([part(weights) for part in parts])  # [parts, d]
        known = np.isfinite(values)
        return _ratio(np.where(known, values, 0.0).sum(axis=0), known.sum(axis=0))

    return statistic


def on_rows(rows: np.ndarray, part: Statistic) -> Statistic:
    """Returns `part`, of some images only, as a statistic of the weights of all; `rows` [N] bool says which."""
    return lambda weights: part(weights[:, rows])


def weighted_kappa(labels: np.ndarray, predicted: np.ndarray, classes: int) -> Statistic:
    """Returns a statistic: Cohen's kappa with quadratic weights of `labels` and `predicted` [N] in 0..classes-1."""
    cells = np.eye(classes * classes)[np.asarray(labels) * classes + np.asarray(predicted)]  # [N, C*C]
    grid = np.arange(classes)
    penalty = (grid[:, None] - grid[None, :]) ** 2

    def statistic(weights: np.ndarray) -> np.ndarray:
        confusion = (weights @ cells).reshape(-1, classes, classes)
        total = confusion.sum(axis=(1, 2))
        expected = confusion.sum(axis=2)[:, :, None] * confusion.sum(axis=1)[:, None, :]
        observed = (confusion * penalty).sum(axis=(1, 2)) * total
        return 1.0 - _ratio(observed, (expected * penalty).sum(axis=(1, 2)))

    return statistic


def _ratio(above: Any, below: Any) -> np.ndarray:
    """Divides; NaN where `below` is 0."""
    return np.divide(above, below, out=np.full(np.shape(below), np.nan), where=np.asarray(below) > 0)
