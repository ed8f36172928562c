"""How far a model's answer can be trusted: calibrated probabilities, and distance from what it was trained on."""

from __future__ import annotations

import dataclasses

import numpy as np

MISSING = -1
ROWS = 4096  # of features at once
RESOLUTION = 0.01  # of the features' root mean square: what 8 bits resolve
TEMPERATURES = (0.05, 20.0)  # outside this range a temperature is the sign of a model that knows nothing


@dataclasses.dataclass(frozen=True)
class FeatureStatistics:
    """Class means and shared covariance of penultimate features (Lee et al., NeurIPS 2018).

    Attributes:
      means: [K, F] float32, one per class that occurred.
      whitening: [F, F] float32; (z - mean) @ whitening has unit covariance on the training images.
      shrinkage: 0..1, the weight of the scaled identity in the covariance (Ledoit and Wolf, 2004).
      images: how many it was fitted on.
    """

    means: np.ndarray
    whitening: np.ndarray
    shrinkage: float
    images: int


def fit_temperature(logits: np.ndarray, labels: np.ndarray, multilabel: bool = False) -> float:
    """Finds the temperature that minimises the negative log likelihood (Guo et al., ICML 2017).

    The targets are smoothed by the number of images of each class, as Platt (1999) does: (n + 1) / (n + C) for the
    true class. Without it, images that the model separates perfectly would drive the temperature to 0 and every
    probability to 0 or 1.

    Args:
      logits: [N, C] of images that the model was not trained on.
      labels: [N] int in 0..C-1, or for multilabel [N, C] of 0, 1 or -1 (missing).
      multilabel: a sigmoid per class in place of a softmax.

    Returns:
      The temperature, > 0; logits / temperature are calibrated. The ranking does not change.

    Raises:
      ValueError: no labels, shapes that do not fit, or logits that are not finite.
    """
    from scipy.optimize import minimize_scalar

    logits, labels = np.asarray(logits, np.float64), np.asarray(labels)
    expected = logits.shape if multilabel else logits.shape[:1]
    if logits.ndim != 2 or labels.shape != expected or not logits.size:
        raise ValueError(
            f"fit_temperature needs logits [N, C] and labels {expected}. Received: {logits.shape}, {labels.shape}."
        )
    _check_finite(logits, "logits")
    if multilabel:
        known = labels != MISSING
        if not known.any():
            raise ValueError("fit_temperature needs at least one label. Received: all missing.")
        # A sigmoid is a softmax over (0, logit).
        logits = np.stack([np.zeros(int(known.sum())), logits[known]], axis=1)
        labels = labels[known]
    if labels.min() < 0 or labels.max() >= logits.shape[1]:
        raise ValueError(f"Labels must lie in 0..{logits.shape[1] - 1}. Received: {labels.min()}..{labels.max()}.")
    targets = _smoothed(labels, logits.shape[1])

    def loss(log_temperature: float) -> float:
        scaled = logits * np.exp(-log_temperature)
        peak = scaled.max(axis=1, keepdims=True)
        partition = peak[:, 0] + np.log(np.exp(scaled - peak).sum(axis=1))
        return float(np.mean(partition - (targets * scaled).sum(axis=1)))

    bounds = tuple(np.log(TEMPERATURES))
    return float(np.exp(minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-4}).x))


def _smoothed(labels: np.ndarray, classes: int) -> np.ndarray:
    """Returns [N, C] target probabilities: (n + 1) / (n + C) for the true class of n images, 1 / (n + C) elsewhere."""
    counts = np.bincount(labels, minlength=classes)[labels][:, None]
    return (np.eye(classes)[labels] * counts + 1) / (counts + classes)


def _check_finite(values: np.ndarray, name: str) -> None:
    wrong = int((~np.isfinite(values)).any(axis=1).sum())
    if wrong:
        raise ValueError(f"{wrong} of {len(values)} images have {name} that are not finite.")


def expected_calibration_error(confidences: np.ndarray, correct: np.ndarray, bins: int = 15) -> float:
    """Computes the expected calibration error with bins of equal width (Naeini et al., 2015).

    Args:
      confidences: [N] in 0..1, the probability of the predicted class.
      correct: [N] bool, whether it was right.
      bins: number of bins.

    Returns:
      The mean gap between confidence and accuracy, weighted by the images per bin: 0..1.

    Raises:
      ValueError: no images, shapes that do not fit, or confidences outside 0..1.
    """
    confidences, correct = np.asarray(confidences, np.float64), np.asarray(correct, np.float64)
    if confidences.ndim != 1 or confidences.shape != correct.shape or not confidences.size or bins < 1:
        raise ValueError(
            f"Two arrays [N], N > 0, and bins >= 1 are needed. Received: {confidences.shape}, {correct.shape}, {bins}."
        )
    if not (np.isfinite(confidences).all() and confidences.min() >= 0 and confidences.max() <= 1 + 1e-6):
        raise ValueError("Confidences must lie in 0..1.")
    place = np.clip(np.ceil(confidences * bins).astype(int) - 1, 0, bins - 1)  # (a, b] as in the paper
    gaps = np.bincount(place, weights=correct - confidences, minlength=bins)
    return float(np.abs(gaps).sum() / len(confidences))


def fit_features(features: np.ndarray, labels: np.ndarray) -> FeatureStatistics:
    """Fits class means and a shared covariance, shrunk towards a scaled identity (Ledoit and Wolf, 2004).

    Shrinkage keeps the covariance invertible with fewer images than features, and with features that never fire.

    Args:
      features: [N, F] penultimate features of training images.
      labels: [N] int class of each; one value for all fits a single mean.

    Raises:
      ValueError: fewer than two images, shapes that do not fit, or features that are not finite or all constant.
    """
    from sklearn.covariance import ledoit_wolf

    features, labels = np.asarray(features, np.float64), np.asarray(labels)
    if features.ndim != 2 or labels.shape != features.shape[:1] or len(features) < 2:
        raise ValueError(
            f"fit_features needs features [N, F] and labels [N], N >= 2. Received: {features.shape}, {labels.shape}."
        )
    _check_finite(features, "features")
    classes, place = np.unique(labels, return_inverse=True)
    means = np.stack([features[place == index].mean(axis=0) for index in range(len(classes))])
    covariance, shrinkage = ledoit_wolf(features - means[place], assume_centered=True)
    values, vectors = np.linalg.eigh(covariance)
    if values.max() <= 0:
        raise ValueError(
            "All features are constant within each class: no covariance can be fitted. Train the model further."
        )
    # A direction in which training features vary by less than RESOLUTION would turn the rounding of an int8 or
    # float16 artifact into distance.
    values = np.maximum(values, np.square(RESOLUTION) * np.mean(np.square(features)))
    # [F, F]; its product with its own transpose is the inverse covariance.
    whitening = vectors / np.sqrt(values)
    return FeatureStatistics(means.astype(np.float32), whitening.astype(np.float32), float(shrinkage), len(features))


def mahalanobis_distance(features: np.ndarray, statistics: FeatureStatistics) -> np.ndarray:
    """Computes the Mahalanobis distance to the nearest class mean.

    Args:
      features: [N, F].
      statistics: from `fit_features`.

    Returns:
      [N] float32 >= 0; larger is less like the training images.
    """
    centres = statistics.means @ statistics.whitening
    distances = np.empty(len(features), np.float32)
    for start in range(0, len(features), ROWS):  # all at once would hold [N, classes, F]
        part = slice(start, start + ROWS)
        whitened = np.asarray(features[part], np.float32) @ statistics.whitening
        squared = np.square(whitened[:, None] - centres[None]).sum(axis=-1)
        distances[part] = np.sqrt(squared.min(axis=1))
    return distances
