"""Calibration and distance against formulas and independent implementations."""

from __future__ import annotations

import numpy as np
import pytest

from dr_edge.calibration import statistics


def _overconfident(seed: int, factor: float, classes: int = 3, count: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    """Logits that are `factor` times those from which the labels were drawn."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1.5, (count, classes))
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = (probabilities.cumsum(axis=1) > rng.random((count, 1))).argmax(axis=1)
    return factor * logits, labels


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_temperature_finds_the_factor_by_which_logits_were_scaled(factor):
    logits, labels = _overconfident(1, factor)
    assert statistics.fit_temperature(logits, labels) == pytest.approx(factor, rel=0.06)


def test_temperature_of_several_diseases_leaves_missing_labels_out():
    rng = np.random.default_rng(2)
    logits = rng.normal(0, 2, (4000, 2))
    labels = (rng.random(logits.shape) < 1 / (1 + np.exp(-logits))).astype(int)
    labels[rng.random(labels.shape) < 0.3] = statistics.MISSING
    assert statistics.fit_temperature(2.5 * logits, labels, multilabel=True) == pytest.approx(2.5, rel=0.08)


def test_perfect_separation_does_not_make_the_model_certain():
    labels = np.repeat([0, 1], 50)
    logits = np.where(np.eye(2)[labels] == 1, 5.0, -5.0)
    temperature = statistics.fit_temperature(logits, labels)
    probability = 1 / (1 + np.exp(-10 / temperature))
    assert probability == pytest.approx(51 / 52, abs=1e-3)


def test_calibration_lowers_the_expected_calibration_error():
    logits, labels = _overconfident(3, 3.0)

    def error(temperature: float) -> float:
        powers = np.exp(logits / temperature)
        probabilities = powers / powers.sum(axis=1, keepdims=True)
        return statistics.expected_calibration_error(probabilities.max(axis=1), probabilities.argmax(axis=1) == labels)

    assert error(1.0) > 0.1
    assert error(statistics.fit_temperature(logits, labels)) < 0.03


def test_expected_calibration_error_by_hand():
    confidences = np.array([0.95, 0.95, 0.95, 0.95, 0.55, 0.55])
    correct = np.array([True, True, True, False, False, False])
    expected = (4 * abs(0.95 - 0.75) + 2 * abs(0.55 - 0.0)) / 6
    assert statistics.expected_calibration_error(confidences, correct, bins=10) == pytest.approx(expected)


def test_an_edge_belongs_to_the_bin_below_as_in_the_paper():
    assert statistics.expected_calibration_error(np.array([0.5, 1.0]), np.array([True, True]), bins=2) == 0.25


def test_mahalanobis_equals_scipy_with_the_same_covariance():
    from scipy.spatial.distance import mahalanobis
    from sklearn.covariance import ledoit_wolf

    rng = np.random.default_rng(4)
    labels = rng.integers(0, 2, 300)
    features = rng.normal(0, 1, (300, 6)) @ rng.normal(0, 1, (6, 6)) + 3 * labels[:, None]
    fitted = statistics.fit_features(features, labels)
    means = np.stack([features[labels == index].mean(axis=0) for index in (0, 1)])
    covariance, shrinkage = ledoit_wolf(features - means[labels], assume_centered=True)
    inverse = np.linalg.inv(covariance)
    expected = [min(mahalanobis(row, mean, inverse) for mean in means) for row in features[:20]]
    np.testing.assert_allclose(statistics.mahalanobis_distance(features[:20], fitted), expected, rtol=1e-4)
    assert fitted.shrinkage == pytest.approx(shrinkage)


def test_far_features_are_far_even_with_few_images_and_dead_units():
    rng = np.random.default_rng(5)
    features = np.maximum(rng.normal(0, 1, (20, 64)), 0)
    features[:, :30] = 0.0
    fitted = statistics.fit_features(features, np.repeat([0, 1], 10))
    near = statistics.mahalanobis_distance(features, fitted)
    far = statistics.mahalanobis_distance(features + 10, fitted)
    assert np.isfinite(near).all() and far.min() > 3 * near.max()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: statistics.fit_temperature(np.zeros((0, 2)), np.zeros(0, int)), "needs logits"),
        (lambda: statistics.fit_temperature(np.zeros((2, 2)), np.array([0, 2])), "0..1"),
        (lambda: statistics.fit_temperature(np.full((2, 2), np.nan), np.array([0, 1])), "not finite"),
        (lambda: statistics.fit_temperature(np.zeros((2, 2)), np.full((2, 2), -1), True), "all missing"),
        (lambda: statistics.expected_calibration_error(np.array([1.5]), np.array([True])), "0..1"),
        (lambda: statistics.expected_calibration_error(np.zeros(0), np.zeros(0)), "N > 0"),
        (lambda: statistics.fit_features(np.zeros((1, 3)), np.zeros(1)), "N >= 2"),
        (lambda: statistics.fit_features(np.full((4, 3), np.inf), np.zeros(4)), "not finite"),
        (lambda: statistics.fit_features(np.ones((4, 3)), np.zeros(4)), "constant"),
    ],
)
def test_bad_input_is_refused_in_words(call, message):
    with pytest.raises(ValueError, match=message):
        call()
